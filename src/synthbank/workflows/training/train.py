"""Train: from a request to a published model. The same request resumes a run that was cut off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext

from synthbank.records import JobStatus, TrainEvent
from synthbank.storage import layout
from synthbank.training import ProcessGroup, TrainingLoop, check_batch
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import require_dataset
from synthbank.workflows.data.expand import expand
from synthbank.workflows.devices import device_words
from synthbank.workflows.lease import lock_folder
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.growth import StageLoops
from synthbank.workflows.training.launch import is_main_process, processes
from synthbank.workflows.training.pace import measures_threads, threads
from synthbank.workflows.training.publish import publish
from synthbank.workflows.training.requests import TrainReport, TrainRequest
from synthbank.workflows.training.run import TrainingRun, check_model_name, prepare_run
from synthbank.workflows.training.speed import fastest


def train(
    bank: Bank,
    request: TrainRequest,
    *,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainReport:
    """Train on a data set's training split and publish the best snapshot.

    The configuration and the originals together name the run, so the same request resumes it. Several processes share
    each batch; the main one writes and publishes, and the reports of the others hold no model. Whatever ends a run is
    recorded in its row of the catalogue.

    Args:
        bank: where the data set is and the model goes.
        request: see `TrainRequest`.
        on_event: called with every line of the history, and with a "progress" event every few steps.
        should_stop: asked after every step.

    Raises:
        BusyError: another process trains this run.
        OptionError: an option is unknown, or outside what is allowed.
        StateError: there are too few originals, or `model_name` belongs to another model.
        TrainingError: a loss stayed not finite after three rollbacks at falling learning rates.
    """
    wanted = processes(request.device, devices=request.devices, nodes=request.nodes)
    config = request.config or configure(bank, request).config
    check_batch(config, wanted.count)
    run = prepare_run(bank, request.dataset, config, request.only_class)
    if request.model_name is not None:
        check_model_name(run, request.model_name)
    paced = measures_threads(config, wanted)
    # One thread measures and builds; the first steps then show how many are fastest.
    lock = lock_folder(run.folder, "training run") if is_main_process() else nullcontext()
    with lock, threads(1 if paced else None) as limit:
        speed = fastest(config, spec=run.spec, images=run.train.images, wanted=wanted, run_dir=run.folder)
        run = dataclasses.replace(run, config=speed.config)
        fabric = wanted.launch(speed.config.precision)
        group = ProcessGroup(fabric)
        if group.is_main:
            if config.offline_expansion:
                expand(bank, request.dataset)
            run.record_start(device_words(fabric.device, group.world_size, threads=limit))
        group.barrier()  # the others read the expansion that the main process has made
        if speed.images_per_sec:
            on_event(TrainEvent("speed", 0, 0, speed.seconds, dict(speed.images_per_sec)))
        loops = StageLoops(
            run,
            fabric,
            on_event=on_event,
            should_stop=should_stop,
            threads=limit if paced else None,
            spent_sec=speed.seconds,
        )
        return _train_stages(run, loops, request.model_name, is_main=group.is_main)


def train_per_class(
    bank: Bank,
    request: TrainRequest,
    *,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[TrainReport]:
    """One model for each class, as in the paper; each sees only its own class. Arguments as in `train`."""
    dataset = require_dataset(bank, request.dataset)
    reports = []
    for class_name, folder in layout.class_folders(dataset.class_names).items():
        name = None if request.model_name is None else f"{request.model_name}-{folder}"
        of_class = dataclasses.replace(request, only_class=class_name, model_name=name)
        reports.append(train(bank, of_class, on_event=on_event, should_stop=should_stop))
    return reports


def _train_stages(run: TrainingRun, loops: StageLoops, model_name: str | None, *, is_main: bool) -> TrainReport:
    """Run all stages that are left, and publish; however it ends, the catalogue says so."""
    loop: TrainingLoop | None = None

    def record_end(status: JobStatus, reason: str | None = None) -> None:
        if is_main:
            run.record_end(loop, status, reason)

    try:
        for loop in loops:
            result = loop.fit()
            if not result.finished:
                break
        assert loop is not None
        model, snapshots = publish(run, loop, model_name) if result.finished and is_main else (None, ())
    except KeyboardInterrupt:
        record_end(JobStatus.CANCELLED, "interrupted; repeat the command to resume")
        raise
    except Exception as error:
        record_end(JobStatus.FAILED, str(error))
        raise
    if result.finished:
        record_end(JobStatus.DONE)
    else:
        record_end(JobStatus.CANCELLED, "stopped; repeat the command to resume")
    return run.report(result, loop.history, model, snapshots)
