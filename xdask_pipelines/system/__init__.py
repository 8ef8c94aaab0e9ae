"""What every floor may use and nobody is about: processes, ports, signals, safe text."""
