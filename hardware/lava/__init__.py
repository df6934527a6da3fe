"""Integer graphs in Intel's Lava, and in the files that it reads."""
