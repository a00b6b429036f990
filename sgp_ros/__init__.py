"""Thin ROS 2 nodes around sgp_core: they convert, call the core and publish."""
