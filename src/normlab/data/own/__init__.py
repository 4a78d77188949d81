"""Images that a function of the user's returns: called, read into arrays, checked."""
