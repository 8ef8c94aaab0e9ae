"""A scheduler and the pools of several Regions as processes of one machine."""
