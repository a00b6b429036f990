"""Other planners for the same models, to compare score-guided planning with; nothing on a rig uses them."""
