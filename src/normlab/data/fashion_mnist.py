"""`fashion-mnist`: grey pictures of clothes, 28x28 pixels, 60,000 for training, 10,000 for test.

Xiao, Rasul & Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist (MIT license), whose
page has the MD5 of the downloads.
"""

from __future__ import annotations

from normlab.data.idx import IdxFile, IdxSet

FILES = {
    "train_images": IdxFile(
        "train-images-idx3-ubyte",
        3,
        "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    "train_labels": IdxFile(
        "train-labels-idx1-ubyte",
        1,
        "md5:9018921c3c673c538a1fc5bad174d6f9",
        "25c81989df183df01b3e8a0aad5dffbe",
    ),
    "test_images": IdxFile(
        "t10k-images-idx3-ubyte",
        3,
        "md5:8181f5470baa50b63fa0f6fddb340f0a",
        "bef4ecab320f06d8554ea6380940ec79",
    ),
    "test_labels": IdxFile(
        "t10k-labels-idx1-ubyte",
        1,
        "md5:15d484375f8d13e6eb1aabb0c3f46965",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    files=FILES,
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
)
