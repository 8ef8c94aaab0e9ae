"""Regions of the globe: boxes, land and sea, the reference regions of IPCC AR6, own polygons; means over them.

Belongs here: outlines of regions, and the fraction of each cell in them. Does not belong here: drawing them.
"""

from xdask_pipelines.climate.regions.named_regions import ar6_acronyms, ar6_region, land, region, sea
from xdask_pipelines.climate.regions.region import Region, box, polygon, regions_of_geojson
from xdask_pipelines.climate.regions.regional_mean import region_fraction, regional_mean

__all__ = [
    "Region",
    "ar6_acronyms",
    "ar6_region",
    "box",
    "land",
    "polygon",
    "region",
    "region_fraction",
    "regional_mean",
    "regions_of_geojson",
    "sea",
]
