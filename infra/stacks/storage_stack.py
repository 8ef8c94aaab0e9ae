"""What holds data: results in every Region; catalog, history, secrets and homes in the client's."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from infra.constructs.database import Database, DatabaseConfig
from infra.constructs.results import USER_ID, Results, ResultsConfig
from infra.constructs.search import Search, SearchConfig
from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology, aws_names

DATABASE_CLASS = {"small": "db.t4g.micro", "full": "db.t4g.small"}
_NFS_PORT = 2049
SEARCH_TYPE = {"small": "t3.small.search", "full": "m7g.medium.search"}


class StorageStack(RegionStack):
    """Stores of one Region.

    Attributes
    ----------
    results
        Bucket and files of results.
    """

    def __init__(self, scope: Construct, topology: Topology, region: str, network: NetworkStack, key_arn: str) -> None:
        super().__init__(scope, "storage", topology, region)
        self.subnets, self.groups, self.key_arn = network.network.subnets["private"], network.groups.ids, key_arn
        self.results = Results(
            self,
            "Results",
            ResultsConfig(
                bucket_name=aws_names.results_bucket(self.aws.account, region),
                log_bucket_name=aws_names.log_bucket(self.aws.account, region),
                key_arn=key_arn,
                role_arn=f"arn:{self.partition}:iam::{self.account}:role/{aws_names.role_name('files', region)}",
                subnets=self.subnets,
                security_group=self.groups["results"],
            ),
        )


class ClientStorageStack(StorageStack):
    """Stores of the client Region.

    Attributes
    ----------
    database, search
        Dagster's history and the catalog.
    home_id, home_access_point
        EFS file system of the homes of notebooks, and the access point of the image's user.
    """

    def __init__(self, scope: Construct, topology: Topology, network: NetworkStack, key_arn: str) -> None:
        super().__init__(scope, topology, topology.client.region, network, key_arn)
        self.database = Database(
            self,
            "Database",
            DatabaseConfig(DATABASE_CLASS[self.aws.stage], self.subnets, self.groups["database"], key_arn),
        )
        users = [
            f"arn:{self.partition}:iam::{self.account}:role/{aws_names.role_name(part, self.place)}"
            for part in ("dagster", "notebook")
        ]
        self.search = Search(
            self,
            "Search",
            SearchConfig(
                instance_type=self.aws.search.instance_type or SEARCH_TYPE[self.aws.stage],
                nodes=self.aws.search.nodes,
                volume_gib=self.aws.search.volume_gib,
                subnets=self.subnets,
                security_group=self.groups["catalog"],
                key_arn=key_arn,
                users=users,
                master=users[0] if self.aws.stage == "full" else None,
            ),
        )
        self._tls_secret()
        self._home()
        if self.aws.stage == "full":
            self.results.log_bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="BalancerLog",
                    principals=[iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
                    actions=["s3:PutObject"],
                    resources=[self.results.log_bucket.arn_for_objects(f"balancer/AWSLogs/{self.account}/*")],
                )
            )

    def _tls_secret(self) -> None:
        """Create a secret, which `xdask certs --aws` fills; a replica in each worker Region follows it.

        It begins with a random value: nothing says that a secret without any version can be replicated.
        """
        secret = secrets.CfnSecret(
            self,
            "Tls",
            name=aws_names.TLS_SECRET,
            generate_secret_string=secrets.CfnSecret.GenerateSecretStringProperty(
                secret_string_template="{}", generate_string_key="replaced"
            ),
            replica_regions=[
                secrets.CfnSecret.ReplicaRegionProperty(region=region) for region in self.topology.worker_regions
            ],
        )
        secret.apply_removal_policy(cdk.RemovalPolicy.DESTROY)

    def _home(self) -> None:
        existing = self.aws.home
        if existing:
            self.home_id = existing.file_system
            ec2.CfnSecurityGroupIngress(
                self,
                "HomeRule",
                group_id=existing.security_group,
                source_security_group_id=self.groups["notebook"],
                ip_protocol="tcp",
                from_port=_NFS_PORT,
                to_port=_NFS_PORT,
                description="Homes of notebooks",
            )
            ec2.CfnSecurityGroupEgress(
                self,
                "HomeWay",
                group_id=self.groups["notebook"],
                destination_security_group_id=existing.security_group,
                ip_protocol="tcp",
                from_port=_NFS_PORT,
                to_port=_NFS_PORT,
                description="Homes of notebooks",
            )
        else:
            home = efs.CfnFileSystem(
                self,
                "Home",
                encrypted=True,
                kms_key_id=self.key_arn,
                backup_policy=efs.CfnFileSystem.BackupPolicyProperty(status="ENABLED"),
                lifecycle_policies=[efs.CfnFileSystem.LifecyclePolicyProperty(transition_to_ia="AFTER_30_DAYS")],
            )
            Tags.of(home).add("Name", aws_names.NOTEBOOK)
            home.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
            self.home_id = home.ref
            for zone, subnet in enumerate(self.subnets):
                efs.CfnMountTarget(
                    self,
                    f"HomeTarget{zone}",
                    file_system_id=home.ref,
                    subnet_id=subnet,
                    security_groups=[self.groups["homes"]],
                )
        self.home_access_point = efs.CfnAccessPoint(
            self,
            "HomeAccess",
            file_system_id=self.home_id,
            posix_user=efs.CfnAccessPoint.PosixUserProperty(uid=USER_ID, gid=USER_ID),
            root_directory=efs.CfnAccessPoint.RootDirectoryProperty(
                path=existing.directory if existing else "/xdask",
                creation_info=efs.CfnAccessPoint.CreationInfoProperty(
                    owner_uid=USER_ID, owner_gid=USER_ID, permissions="0750"
                ),
            ),
        ).attr_access_point_id
