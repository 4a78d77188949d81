"""Sets of image files: found, decoded once in parallel, and kept as one array in the cache.

scan.py finds the files, archives.py those inside a tar; decode.py turns one file's bytes into
pixels; pool.py does so for all of them on every core, worker.py is its other end; cache.py keeps
the result; folder.py and shipped.py are the entries of the catalog. Only decode.py imports Pillow,
and nothing imports it before there is something to decode.
"""
