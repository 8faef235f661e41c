"""Specs of the metrics that other protocols compute: of Inception, of modes and labels, and of readers."""

from __future__ import annotations

from synthbank.metrics._registry import declare_metric

declare_metric("fid", order=300, title="FID (Inception)", meaning="the published Fréchet Inception distance",
    citation="Heusel et al. 2017, arXiv 1706.08500")  # fmt: skip
declare_metric("is", order=310, title="Inception Score", meaning="confidence and variety as Inception sees them",
    direction="higher", bounds=(1.0, None), citation="Salimans et al. 2016, arXiv 1606.03498")  # fmt: skip
declare_metric("rare-coverage", order=400, title="Coverage of rare modes", direction="higher", bounds=(0.0, 1.0),
    meaning="share of originals of small clusters with one near", citation="after Naeem et al. 2020")  # fmt: skip
declare_metric("common-coverage", order=410, title="Coverage of common modes", direction="higher", bounds=(0.0, 1.0),
    meaning="the same for the other clusters", citation="after Naeem et al. 2020, arXiv 2002.09797")  # fmt: skip
declare_metric("group-coverage", order=420, title="Coverage of a group", direction="higher", bounds=(0.0, 1.0),
    meaning="the same for one patient, slide or centre", citation="after Naeem et al. 2020")  # fmt: skip
declare_metric("label-agreement", order=430, title="Label agreement", direction="higher", bounds=(0.0, 1.0),
    meaning="share of labels that a real-trained classifier would give too", citation="share of equals")  # fmt: skip
declare_metric("reader-accuracy", order=500, title="Accuracy of readers", bounds=(0.0, 1.0),
    meaning="share of images that readers tell rightly", citation="share of right answers")  # fmt: skip
