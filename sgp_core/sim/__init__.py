"""A simulated rig (MuJoCo) and the people who demonstrate on it. Nothing outside may know that it is simulated."""
