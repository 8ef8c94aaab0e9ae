"""The footprint of a computation: cost, energy and CO2e, and the savings from not transferring its inputs.

Belongs here: estimates from counted bytes and seconds. Does not belong here: counting them (ledger), the factors
(settings).

All are estimates: list prices, the average power of a busy thread, the average CO2e of a Region's grid.
Energy = thread-seconds x power + bytes sent x energy of a byte; CO2e = energy x the grid's factor, the sender's for bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.units import format_bytes


def footprint(
    settings: Settings, worker_seconds: Mapping[str, float], read: Mapping[str, int], across: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Estimate cost, energy, CO2e, and the savings from not transferring the inputs.

    Parameters
    ----------
    settings
        Prices and factors.
    worker_seconds
        Thread-seconds in which tasks ran, by Region.
    read
        Stored bytes read, by Region.
    across
        Bytes moved, by ``"src->dst"``.

    Returns
    -------
    ``cost_usd`` by kind; ``kwh_by_region`` and ``co2e_kg_by_region`` (Regions with a known factor only); ``avoided``:
    bytes, cost_usd and co2e_kg of sending the inputs to the client's Region, minus those of the bytes that were sent.
    """
    sent = settings.kwh(across)
    hauled = {f"{r}->{settings.client_region}": n for r, n in read.items() if r != settings.client_region}
    compute = sum(s * settings.rates(r).usd_per_thread_second for r, s in worker_seconds.items())
    kwh: defaultdict[str, float] = defaultdict(float)
    for region, seconds in worker_seconds.items():
        kwh[region] += seconds * settings.rates(region).kwh_per_thread_second
    for region, energy in sent.items():
        kwh[region] += energy
    avoided: dict[str, float] = {}
    if hauled:
        avoided = {
            "bytes": sum(hauled.values()) - sum(across.values()),
            "cost_usd": settings.egress_usd(hauled) - settings.egress_usd(across),
            "co2e_kg": _co2e(settings, settings.kwh(hauled)) - _co2e(settings, sent),
        }
    return {
        "cost_usd": {"compute": compute, "egress": settings.egress_usd(across)},
        "kwh_by_region": dict(kwh),
        "co2e_kg_by_region": {
            region: energy * factor
            for region, energy in kwh.items()
            if (factor := settings.rates(region).co2e_kg_per_kwh) is not None
        },
        "avoided": avoided,
    }


def _co2e(settings: Settings, kwh: Mapping[str, float]) -> float:
    return sum(energy * (settings.rates(region).co2e_kg_per_kwh or 0.0) for region, energy in kwh.items())


def in_words(values: Mapping[str, Any]) -> str:
    """Describe cost, energy, CO2e and savings in one line."""
    usd, kwh, kg = (sum(values[name].values()) for name in ("cost_usd", "kwh_by_region", "co2e_kg_by_region"))
    text = f"{usd:.6f} USD, {1000 * kwh:.4f} Wh, {1000 * kg:.4f} g CO2e"
    if avoided := values["avoided"]:
        saved = avoided["bytes"] >= 0
        sign = 1 if saved else -1
        costs = f"{sign * avoided['cost_usd']:+.6f} USD, {sign * 1000 * avoided['co2e_kg']:+.4f} g CO2e"
        text += (
            f"; hauling the inputs would have sent {format_bytes(avoided['bytes'])} more ({costs})"
            if saved
            else f"; this sent {format_bytes(-avoided['bytes'])} more than hauling the inputs would have sent ({costs})"
        )
    return text + " (estimates)"
