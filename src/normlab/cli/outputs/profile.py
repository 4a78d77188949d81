"""The output of profile."""

from __future__ import annotations

from normlab.cli.outputs.output import Output, Part


class PartTimed(Part):
    """A part of a step or of a trial.

    Attributes:
        name: What it is.
        within: The part that it is a part of; empty for those that make up the whole.
        seconds: It takes in one step, or in the whole trial.
        calls: How often it runs in that.
        floor: Seconds that this machine needs at least for it; null where nothing is known.
        flops: Floating point operations that it needs.
        moved: Bytes that it has to read and write.
        share: Of the whole, a fraction of 1.
        times_the_floor: How much longer it takes than it must.
    """

    name: str
    within: str
    seconds: float
    calls: float
    floor: float | None
    flops: float | None
    moved: float | None
    share: float
    times_the_floor: float | None


class MachineRates(Part):
    """The best that was measured on this machine.

    Attributes:
        precision: `float32`, `float64` or `bfloat16`.
        flops: Floating point operations a second.
        flops_of: What ran at that rate, in words.
        memory: Bytes a second of a copy that no cache holds, read and written.
        memory_array: Bytes of the array that was copied.
        cache: The same of a copy within the cache; null on a GPU.
        cache_array: Bytes of that array.
        cache_size: Bytes of the last level of the cache; 0 on a GPU.
    """

    precision: str
    flops: float
    flops_of: str
    memory: float
    memory_array: int
    cache: float | None
    cache_array: int
    cache_size: int


class TrainingTimed(Part):
    """Seconds of a training.

    Attributes:
        undisturbed: A step on no clock.
        by_part: A step whose parts are timed.
        by_layer: A step whose layers are timed, too.
        watching: What watching the liveness adds to each step of the first epoch.
        watching_once: What it takes once, beside that.
        first_build: Making model and optimizer for the first time in a process.
        build: And each time from then on.
        first_steps: What the first steps take beyond later ones.
        evaluation: Scoring one image.
        diagnostics: The diagnostics of an epoch.
        processor: Seconds of a core that the process had for each second of an undisturbed step.
    """

    undisturbed: float
    by_part: float
    by_layer: float
    watching: float
    watching_once: float
    first_build: float
    build: float
    first_steps: float
    evaluation: float
    diagnostics: float
    processor: float


class ArmProfiled(Output):
    """Where a step and a trial of an arm go. Times are seconds, rates a second.

    Attributes:
        name: The study's name.
        arm: The arm's label.
        device: `cpu` or `cuda`.
        chip: Its name.
        threads: CPU threads.
        images: `real`, or `made-up` where the study's own are not here.
        batch: Images that a step takes from the data.
        steps: Steps that were timed of each kind.
        disturbed: Whether other programs took the processor away meanwhile.
        rates: What this machine does at most.
        training: What was timed of the training.
        step: The parts of a step.
        trial: The parts of a trial.
        worker: What a worker pays once, whatever it trains.
    """

    name: str
    arm: str
    device: str
    chip: str
    threads: int
    images: str
    batch: int
    steps: int
    disturbed: bool
    rates: MachineRates
    training: TrainingTimed
    step: list[PartTimed]
    trial: list[PartTimed]
    worker: list[PartTimed]
