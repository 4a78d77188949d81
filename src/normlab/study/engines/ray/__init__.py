"""The Ray engine: trials on the nodes of a Ray cluster that is there already.

`cluster` finds and checks it, `engine` hands out the work and takes the messages, `bare` and
`worker` run on the nodes, `shipping` is what they are sent. Ray itself is imported when a cluster
is asked for, and nowhere else in normlab.
"""
