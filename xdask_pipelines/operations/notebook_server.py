"""JupyterLab on this machine, in the folder of a project.

Belongs here: its command. Does not belong here: notebooks on AWS (aws.notebooks), what a notebook imports (notebook).
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement.launch.process_command import ProcessCommand
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology import Topology

_INSTALL = 'pip install "xdask_pipelines[notebook]"'


def notebook_command(topology: Topology, *, port: int | None = None, browser: bool = True) -> ProcessCommand:
    """Return the command of JupyterLab: on loopback, with the token that Jupyter makes for each start.

    Parameters
    ----------
    topology
        The project; its folder is the root of the file browser, and notebooks in all folders open it.
    port
        Port to listen on; None for 8888, or the next one that is free.
    browser
        Whether Jupyter opens a browser. It prints the address with the token in any case.

    Raises
    ------
    XdaskError
        If JupyterLab is not installed.
    """
    if find_spec("jupyterlab") is None or find_spec("ipykernel") is None:
        raise XdaskError(
            f"JupyterLab is not installed for {sys.executable}. Install it with `{_INSTALL}`, then run `xdask notebook` "
            "again."
        )
    options = {"ip": LOOPBACK, "root_dir": str(topology.root), "open_browser": str(browser)}
    if port is not None:
        options |= {"port": str(port), "port_retries": "0"}
    words = [sys.executable, "-m", "jupyterlab", *(f"--ServerApp.{name}={value}" for name, value in options.items())]
    if os.geteuid() == 0:  # in a container; Jupyter refuses otherwise
        words.append("--allow-root")
    return ProcessCommand(words, {"XDASK_TOPOLOGY": str(topology.root / "regions.yaml")})
