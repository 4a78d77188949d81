"""What people call the things that a study file names: other libraries' names, abbreviations.

Spelling alone misleads: "batch_norm" looks most like 'batch_renorm', which is another norm.
"""

from __future__ import annotations

_CALLED = {
    # norms
    "batch": "bn bnorm",
    "group": "gn",
    "layer": "ln",
    "instance": "in",
    "rms": "rmsn rootmeansquare",
    "filter_response": "frn",
    "switchable": "sn switch",
    "batch_instance": "bin",
    "batch_renorm": "brn renorm",
    "ghost_batch": "gbn ghost ghostbn",
    "scaled_ws": "ws sws weightstandardization scaledweightstandardization nf nfnet normfree",
    "evonorm_s0": "evonorm evo evos0",
    "evonorm_b0": "evob0",
    "none": "no off identity without nonorm false null",
    # optimizers, schedules, losses, activations
    "sgd": "sgdm sgdmomentum momentumsgd stochasticgradientdescent",
    "cosine": "cos cosinedecay halfcosine",
    "one_cycle": "1cycle superconvergence",
    "step": "stepdecay steps",
    "constant": "const fixed flat",
    "cross_entropy": "ce xent crossentropyloss categoricalcrossentropy nll softmax logloss",
    "mse": "l2loss meansquarederror squarederror",
    "silu": "swish",
    "leaky_relu": "lrelu leaky",
    "float32": "fp32 single full",
    "bfloat16": "bf16",
    "float64": "fp64 double",
    # dropouts and augmentations
    "spatial_dropout": "dropout2d channeldropout",
    "horizontal_flip": "hflip flip fliplr",
    "vertical_flip": "vflip flipud",
    "rotation": "rotate",
    "shift": "translate translation",
    "label_smoothing": "smoothing labelsmooth",
    # data sets
    "fashion-mnist": "fmnist",
    "kmnist": "kuzushiji kuzushijimnist",
    "cifar10": "cifar",
    "image-folder": "folder images imagenetfolder",
    # keys of a recipe and of a study
    "lr": "learningrate rate eta steplength",
    "batch_size": "bs batch minibatch minibatchsize",
    "epochs": "numepochs nepochs maxepochs nepoch epoch iterations",
    "optimizer": "optim optimiser solver",
    "schedule": "scheduler lrscheduler lrschedule learningrateschedule",
    "weight_decay": "wd decay weightdecayrate",
    "init": "initialization initialisation initializer initialiser kernelinitializer weightinit",
    "glorot": "xavier glorotuniform xavieruniform",
    "data": "dataset datasets",
    "model": "net network arch architecture backbone",
    "norm": "normalization normalisation normalizer normlayer",
    "activation": "act nonlinearity activationfunction",
    "loss": "criterion lossfunction lossfn objective",
    "validation": "valsplit validationsplit valid val valfraction validationfraction",
    "precision": "dtype amp mixedprecision",
    "stochastic_depth": "droppath droppathrate layerdrop",
    "clip_grad_norm": "gradclip gradientclipping clipnorm maxgradnorm gradientclip clip",
    "agc": "adaptivegradientclipping adaptiveclipping",
    "early_stopping": "earlystop patience",
    "dropout": "drop dropoutrate pdrop dropoutp",
    "augment": "augmentation augmentations transforms transform labelsmoothing mixup cutmix cutout "
    "randomcrop crop horizontalflip verticalflip hflip flip rotation shift affine brightness "
    "contrast colorjitter randomerasing",
    "l2": "l2reg l2regularization ridge",
    "l1": "l1reg l1regularization lasso",
    "seeds": "seed numseeds nseeds repeats runs replicates",
    "factors": "factor grid sweep parameters hyperparameters",
    "question": "title hypothesis description",
    "base": "defaults default recipe config common",
    "claims": "claim hypotheses",
    # keys of a range
    "range": "low high lower upper min max minimum maximum bounds interval uniform loguniform "
    "linspace",
    "points": "num number samples numsamples count n levels",
    "log": "logscale logarithmic logspace",
    "length": "size dim dims dimensions",
}

_OTHERS = (
    "nadam radam adamax adagrad adadelta rmsprop lion lamb lars adafactor adabound adabelief "
    "asgd rprop lbfgs sophia muon ranger shampoo "
    "exponential polynomial poly plateau reduceonplateau cyclic warmrestarts cosinewarmrestarts "
    "cosineannealingwarmrestarts multistep linear inversesqrt "
    "spectral spectralnorm weightnorm weight localresponse lrn power powernorm sync syncbatch "
    "syncbatchnorm lazybatch divisive cosinenorm "
    "elu selu celu prelu relu6 rrelu mish hardswish hardsigmoid softplus tanh sigmoid glu "
    "emnist qmnist svhn stl10 imagenet tinyimagenet caltech101 caltech256 medmnist cinic10 "
    "alphadropout dropconnect droplast shuffle numworkers pinmemory shakedrop shakeshake "
    "randaugment autoaugment trivialaugment augmix gridmask bce focal hinge "
    "device workers threads"
)
OTHERS = frozenset(_OTHERS.split())
"""Things of their own that normlab does not have: what looks like them is something else."""

BY_NAME: dict[str, tuple[str, ...]] = {}
"""What a name without case and signs may mean, likeliest first."""
for _name, _called in _CALLED.items():
    for _each in _called.split():
        BY_NAME[_each] = (*BY_NAME.get(_each, ()), _name)

AFFIXES = (
    "layer",
    "norm",
    "alization",
    "alisation",
    "2d",
    "1d",
    "3d",
    "lr",
    "optimizer",
    "scheduler",
    "schedule",
    "annealing",
    "loss",
    "dataset",
)
"""Ends of names that say what kind of thing it is, and no more."""

PREFIXES = ("random", "nn", "torch")
