"""Analyses of climate fields: means by period, anomalies, trends, skill, ensembles, warming levels.

Belongs here: functions that climate scientists know by name, lazy on Dask arrays. Does not belong here: assets that
offer them (``xdask_pipelines.assets``), pictures (``climate.drawing``).
"""

from xdask_pipelines.climate.analyses.anomalies import anomaly
from xdask_pipelines.climate.analyses.ensembles import Member, ensemble_statistics, model_means
from xdask_pipelines.climate.analyses.extremes import frost_days, has_indices, warm_days
from xdask_pipelines.climate.analyses.period_means import climatology, period_means
from xdask_pipelines.climate.analyses.skill import skill, taylor_points
from xdask_pipelines.climate.analyses.trends import sen_trend
from xdask_pipelines.climate.analyses.warming_levels import warming_level_crossing

__all__ = [
    "Member",
    "anomaly",
    "climatology",
    "ensemble_statistics",
    "frost_days",
    "has_indices",
    "model_means",
    "period_means",
    "sen_trend",
    "skill",
    "taylor_points",
    "warm_days",
    "warming_level_crossing",
]
