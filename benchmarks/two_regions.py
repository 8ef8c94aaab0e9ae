"""The topology of measurements over two Regions: reanalysis-like hours in one, runs of models in one or both.

Belongs here: regions.yaml of such a project. Does not belong here: its data, what runs on it.
"""

from __future__ import annotations

EAST, WEST = "us-east-1", "us-west-2"
_DATASET = "      - {{name: {0}, layout: {1}, mount: {0}, excerpt: {2}, license: CC0-1.0, attribution: Synthetic data}}"


def regions(*, models_in_both: bool) -> str:
    """Return regions.yaml, with models in us-west-2 alone or in both Regions.

    Examples
    --------
    >>> regions(models_in_both=True).count("name: cmip6"), regions(models_in_both=False).count("name: cmip6")
    (2, 1)
    """
    hours, models = _DATASET.format("era5", "era5-pds", "true"), _DATASET.format("cmip6", "cmip6-pds", "false")
    lines = [
        *("client: {region: eu-west-2, cidr: 10.0.0.0/16}", "workers:"),
        *(
            f"  - region: {EAST}",
            "    cidr: 10.1.0.0/16",
            "    datasets:",
            hours,
            *([models] if models_in_both else []),
        ),
        *(f"  - region: {WEST}", "    cidr: 10.2.0.0/16", "    datasets:", models),
    ]
    return "\n".join(lines) + "\n"
