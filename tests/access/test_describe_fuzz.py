"""Whatever a file holds, describing it gives a header that the catalog takes and that opens, or one error of that file."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.catalog_helpers import cmip6
from xdask_pipelines.access.header import describe
from xdask_pipelines.assets.source import opened_field
from xdask_pipelines.catalog import Entry
from xdask_pipelines.errors import AccessError, CatalogError, ClimateError

NAMES = ("time", "lat", "lon", "member_id", "t2m", "time_bnds", "lat_bnds", "expver", "depth")
UNITS = (
    "K",
    "",
    "degrees_north",
    "degrees_east",
    "days since 2001-01-01",
    "months since 2001-01-01",
    "hours since",
    "days since the flood",
    "since",
    "K\ud83d",
)
CALENDARS = ("standard", "360_day", "noleap", "360", "julian", "")
DTYPES = ("f4", "f8", "i2", "i8", "u1", "?", "c8", "S1", "S4", "text", "M8[s]", "compound", "reference")

attribute = st.one_of(
    st.sampled_from([*UNITS, *CALENDARS, *NAMES, "latitude", "time", "T", "lat lon", "area: t2m", "time_bnds"]),
    st.integers(-5, 5),
    st.floats(),
    st.just(np.array([], "f4")),
    st.just(np.array([1.0, np.nan])),
    st.just(10**30),
    st.binary(max_size=3),
)
ATTRIBUTES = (
    "units",
    "calendar",
    "standard_name",
    "axis",
    "bounds",
    "coordinates",
    "_FillValue",
    "scale_factor",
    "add_offset",
    "missing_value",
    "cell_methods",
    "dtype",
    "_Unsigned",
    "positive",
)


@dataclass(frozen=True)
class Made:
    """One variable of a file."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    attrs: dict[str, Any]
    seed: int


variable = st.builds(
    Made,
    name=st.sampled_from(NAMES),
    dims=st.lists(st.sampled_from(("time", "lat", "lon", "member_id", "bnds")), max_size=3).map(tuple),
    dtype=st.sampled_from(DTYPES),
    attrs=st.dictionaries(st.sampled_from(ATTRIBUTES), attribute, max_size=4),
    seed=st.integers(0, 9),
)
files = st.lists(variable, min_size=0, max_size=6, unique_by=lambda v: v.name)
sizes = st.fixed_dictionaries(
    {dim: st.integers(0, 4) for dim in ("time", "lat", "lon", "member_id")} | {"bnds": st.just(2)}
)


def _values(made: Made, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(made.seed)
    numbers = rng.choice([0.0, 1.0, 2.0, 45.0, 1e20, -700_000.0, np.nan, np.inf], shape)
    if made.seed < 5 and len(shape) == 1:
        numbers = np.arange(shape[0], dtype="f8") * made.seed
    if made.dtype == "text":
        return numbers.astype(str).astype(object)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return numbers.astype("i8").astype(made.dtype) if made.dtype[0] in "iuM?" else numbers.astype(made.dtype)


def _hdf5(path: Path, variables: list[Made], sizes: dict[str, int]) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("group")
        group["itself"] = h5py.SoftLink("/group")  # recursive
        for made in variables:
            shape = tuple(sizes[dim] for dim in made.dims)
            if made.dtype == "compound":
                item = file.create_dataset(made.name, shape, np.dtype([("a", "f4"), ("b", "i2")]))
            elif made.dtype == "reference":
                item = file.create_dataset(made.name, shape, h5py.ref_dtype)
            elif made.dtype == "text":
                item = file.create_dataset(made.name, shape, h5py.string_dtype(), data=_values(made, shape))
            elif made.dtype.startswith("M8"):
                item = file.create_dataset(made.name, shape, h5py.opaque_dtype(np.dtype("M8[s]")))
            else:
                item = file.create_dataset(made.name, shape, data=_values(made, shape))
            for name, value in made.attrs.items():
                text = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
                item.attrs[name] = text if value != 10**30 else float(value)
            if made.dims == (made.name,):
                item.make_scale(made.name)
        for made in variables:
            for axis, dim in enumerate(made.dims):
                if dim in file and made.dims != (made.name,) and "CLASS" in file[dim].attrs and made.seed != 7:
                    file[made.name].dims[axis].attach_scale(file[dim])


def _zarr(path: Path, variables: list[Made], sizes: dict[str, int], version: int) -> None:
    root = zarr.open_group(path, mode="w", zarr_format=version)
    root.create_group("group")
    for made in variables:
        shape = tuple(sizes[dim] for dim in made.dims)
        values = _values(made, shape) if made.dtype not in ("compound", "reference") else np.zeros(shape, [("a", "f4")])
        dtype = "str" if made.dtype == "text" else values.dtype
        names = {"dimension_names": made.dims} if version == 3 and made.seed != 7 else {}
        array = root.create_array(made.name, shape=shape, dtype=dtype, **names)
        array[...] = values
        attrs = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in made.attrs.items()}
        attrs = {k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in attrs.items()}
        attrs = {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in attrs.items()}
        if version == 2 and made.seed != 7:
            attrs["_ARRAY_DIMENSIONS"] = list(made.dims)
        array.attrs.update({k: v for k, v in attrs.items() if not (isinstance(v, float) and not np.isfinite(v))})
    if version == 2:
        zarr.consolidate_metadata(path)


def _written(folder: Path, kind: str, variables: list[Made], sizes: dict[str, int]) -> Path | None:
    """The file; None where the library itself refuses to write it."""
    path = folder / ("a.nc" if kind == "netcdf4" else "a.zarr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _hdf5(path, variables, sizes) if kind == "netcdf4" else _zarr(path, variables, sizes, int(kind[-1]))
    except (TypeError, ValueError, OSError, RuntimeError, KeyError, NotImplementedError, AssertionError):
        return None
    return path


def _described(path: Path, kind: str) -> dict[str, Any] | str:
    try:
        return describe(path, kind)
    except AccessError as error:
        return str(error)


TIME = Made("time", ("time",), "f8", {"units": "days since 2001-01-01", "standard_name": "time"}, 1)
DATA = Made("t2m", ("time", "lat"), "f4", {"units": "K"}, 1)


@pytest.mark.parametrize("kind", ["netcdf4", "zarr2", "zarr3"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(variables=files, sizes=sizes)
@example(variables=[TIME, DATA], sizes={"time": 3, "lat": 2, "lon": 0, "member_id": 0, "bnds": 2})
@example(variables=[TIME, DATA], sizes={"time": 0, "lat": 2, "lon": 0, "member_id": 0, "bnds": 2})
def test_any_file_gives_a_header_that_opens_or_one_error_that_names_it(
    kind: str, variables: list[Made], sizes: dict[str, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _written(Path(folder), kind, variables, sizes)
        if path is None:
            return
        header = _described(path, kind)
    if isinstance(header, str):
        assert "/a." in header
        assert "xdask sync" in header
        return
    json.dumps(header, allow_nan=False).encode()
    entry: Entry = cmip6(format=kind, size_bytes=header["file"]["size_bytes"])
    try:
        entry = entry.with_header(header)
    except CatalogError:
        pytest.fail(f"the catalog refuses {header}")
    assert Entry.from_json(entry.to_json()) == entry
    try:
        opened = opened_field([entry])
    except ClimateError:  # bounds that do not fit their coordinate
        return
    assert opened is not None
