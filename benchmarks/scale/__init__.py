"""How three jobs scale with worker processes: measured on this machine, simulated beyond it, next to published figures."""
