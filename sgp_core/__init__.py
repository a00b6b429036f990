"""Score-guided planning for planar pushing from motion-capture markers; knows nothing of ROS."""
