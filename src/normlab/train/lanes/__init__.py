"""Several trials of one shape side by side, one in each lane of a core's vector instructions."""
