"""The one image, published to each Region that runs it.

Belongs here: the build of `docker/Dockerfile` with the project in it. Does not belong here: the Dockerfile.
"""

from __future__ import annotations

from aws_cdk import aws_ecr_assets as assets
from constructs import Construct

from infra.repository import REPOSITORY


def image_of(scope: Construct) -> str:
    """Return the address of the image in the Region of a stack; it is built when the stack is deployed."""
    asset = assets.DockerImageAsset(
        scope,
        "Image",
        directory=str(REPOSITORY),
        file="docker/Dockerfile",
        target="with-project",
        platform=assets.Platform.LINUX_AMD64,
    )
    return asset.image_uri
