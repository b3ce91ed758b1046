"""The neighbour side of the fit of a map: the graph of nearest rows, classes, and where the map starts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from latentmap.data.rows import LazyRows
from latentmap.data.sampling import Indices
from latentmap.data.sources import Source
from latentmap.data.values import flat
from latentmap.estimators.anchor import Pinned
from latentmap.estimators.choices import choose_neighbors, describe_choice
from latentmap.estimators.graph import Edges, is_approximate, neighbor_graph, squared_distances
from latentmap.estimators.groups import first_of_group, grouped
from latentmap.estimators.parameters import Parameters, check_count
from latentmap.estimators.places import Places, PlaceSearch
from latentmap.estimators.state import FitState, Graphs, as_tensor
from latentmap.estimators.supervision import Targets, describe_targets, targets_of_groups, with_targets
from latentmap.estimators.training_rows import some_of
from latentmap.estimators.tsne import start_of_components
from latentmap.exceptions import DataError, DiagnosisWarning, PartError
from latentmap.model.affinities import SEARCHED, SHARES, affinities, shares
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.components import principal_axes, projection
from latentmap.model.layout import start_at_components
from latentmap.model.networks import Network
from latentmap.model.placement import PlacedEncoder, Placement
from latentmap.model.posteriors import Gaussian
from latentmap.model.scaling import Affine
from latentmap.objectives.base import Objective
from latentmap.objectives.metrics import normalise_for, require_fit
from latentmap.objectives.neighbors import NeighborEmbedding

LANDMARK_COLUMNS, LANDMARK_COMPONENTS = 200, 100
"""Columns up to which landmarks keep all, and their principal components beyond."""
POINTS = 2**22
"""Values that are brought to principal components at a time."""
PLACED_ROWS, PLACED_ROWS_3D = 100_000, 20_000
"""Rows of a fit up to which its map places others among them, and in three dimensions."""
PLACES = ", new rows are placed among those of the fit"
"""What a description says of such a map."""
COMPONENTS = "principal components (chosen as they keep more neighbours than t-SNE)"
"""What a description says of a map that is these."""
DATE_LINE = 170.0
"""Longitude from which on a row is near to the other side of the date line."""
PLACES_KNOWN = ", rows near to those of the earlier fit are placed among them"
"""What a description says of a fit that keeps the places of its anchor, and has none of its own."""
PAIRS_A_SECOND = {"cpu": 5e8, "cuda": 2e10}
"""Pairs of rows whose distances the exact search takes in a second, about."""


def plan_neighbors(p: Parameters, rows: int, total: int, device: str) -> tuple[int | Edges, str]:
    """Return the number of neighbours that a map keeps of each training row, 0 for none, and why; or a given graph.

    Parameters
    ----------
    p : Parameters
        Parameters of the estimator.
    rows, total : int
        Number of training rows, and of all rows given.
    device : str
        Type of the device that searches.
    """
    requested: Any = p.neighbors
    auto = isinstance(requested, str) and requested == "auto"
    if getattr(requested, "shape", ()) or isinstance(requested, list | tuple):  # a scalar of numpy has the shape ()
        return Edges.read(requested, total), describe_choice("a graph", True, "")
    if not auto and requested is not None:
        check_count("neighbors", requested)
    # with a condition, neighbours in the data have the same condition, and codes hold the rest
    chosen = requested or 0
    search, basis = "approximate" if is_approximate(rows, device) else "exact", f"{rows} rows"
    if auto:
        chosen = 0 if p.condition else choose_neighbors(rows, int(p.n_components))
        if chosen and search == "exact" and _exceeds(p.time_budget, rows, device):
            chosen, basis = 0, f"{rows} rows, among which a search takes more than half of {p.time_budget:g} s"
    metric: Any = p.metric
    if chosen and metric is None:
        raise PartError("the metric was a function, which a run does not hold: set_params(metric=...) gives it again")
    if callable(metric):
        search = "exact"
    described = f"{chosen}, {search}, {metric_name(metric)}" if chosen else None
    if described and places_rows(p, chosen, total):
        described += PLACES
    return chosen, describe_choice(described, not auto, f"{p.n_components} components and {basis}")


def metric_name(metric: Any) -> str:
    """Return the name of a metric: of a function, its own."""
    return str(getattr(metric, "__name__", metric))


def _exceeds(time_budget: float | None, rows: int, device: str) -> bool:
    """Return whether the exact search among so many rows takes more than half of a time budget."""
    return time_budget is not None and rows**2 / PAIRS_A_SECOND.get(device, 5e8) > time_budget / 2


def no_neighbors(p: Parameters, why: str) -> str:
    """Return why a map of rows that are not kept in memory has no neighbours; refuse where some were requested."""
    if p.neighbors is not None and not (isinstance(p.neighbors, str) and p.neighbors == "auto"):
        raise PartError(f"neighbours are searched among rows in memory, and {why}; leave neighbors=None, or raise it")
    return describe_choice(None, p.neighbors is None, "rows that are not kept in memory")


def places_rows(p: Parameters, neighbors: int | Edges, rows: int) -> bool:
    """Return whether a map places rows among those of its fit: few, compared as the encoder takes them."""
    most = PLACED_ROWS if p.n_components in (1, 2) else PLACED_ROWS_3D
    flat = isinstance(getattr(p, "variational_family", None), Gaussian | None) and not p.ladder and not p.condition
    searched = isinstance(neighbors, int) and neighbors > 0 and p.metric == "euclidean"
    return flat and searched and p.encoder is None and rows <= most


def without_placement(model: GenerativeAutoencoder) -> tuple[Placement, PlacedEncoder] | None:
    """Leave a model the encoder alone, where that places rows, and return what places them."""
    if not isinstance(model.parts.encoder, Placement):
        return None
    network, encoder = model.parts.encoder, cast(PlacedEncoder, model.encoder)
    model.encoder, model.parts = encoder.encoder, replace(model.parts, encoder=network.network)
    return network, encoder


def with_placement(model: GenerativeAutoencoder, network: Placement, encoder: PlacedEncoder) -> None:
    """Let a model place rows that resemble those of an earlier fit where this had them."""
    encoder.encoder, encoder.known_only = model.encoder, True
    own = cast(Network, model.parts.encoder)
    model.encoder, model.parts = encoder, replace(model.parts, encoder=replace(network, network=own, known_only=True))


@dataclass(frozen=True, eq=False)
class NeighborSearch:
    """The search for the neighbours of training and held-out rows among the training rows.

    Parameters
    ----------
    parameters : Parameters
        Parameters of the estimator.
    state : FitState
        Model with its initial weights, and graphs of an earlier fit, if any.
    source : Source
        All rows.
    some : ndarray of shape (m, P)
        Some of the training rows, of which principal components are taken.
    train, held_out : ndarray of int
        Indices of training and held-out rows.
    """

    parameters: Parameters
    state: FitState
    source: Source
    some: NDArray[Any]
    train: Indices
    held_out: Indices

    def graphs(self, k: int | Edges, targets: Targets | None) -> tuple[Graphs | None, dict[str, Tensor]]:
        """Return the graphs to keep with the fit, and those that it uses: with given edges, and rows of like y."""
        self._require_neighbors(k, targets)
        kept = self.state.graphs
        if not k:
            return kept, {}
        if isinstance(k, Edges):
            used = {"graph": k.among(self.train, self.train), "held_out_graph": k.among(self.held_out, self.train)}
        else:
            kept = self._kept(f"{k}", lambda: self._drawn_of_training(k))
            used = {"graph": kept.graph.long(), "held_out_graph": kept.held_out_graph.long()}
        if targets is not None:
            used["graph"] = self._with_targets(used["graph"], targets[self.train], targets[self.train])
            used["held_out_graph"] = self._with_targets(
                used["held_out_graph"], targets[self.held_out], targets[self.train]
            )
        return kept, {name: graph.to(self.state.device) for name, graph in used.items()}

    def places(
        self,
        k: int,
        targets: Targets | None,
        pinned: Pinned | None,
        ended: Callable[[], bool],
        *,
        known: bool = False,
    ) -> tuple[Graphs, Places]:
        """Return the graph to keep with the fit, and the places of all rows by t-SNE.

        Parameters
        ----------
        k : int
            Neighbours of each row.
        targets : Targets or None
            Classes or numbers of the rows of a supervised map.
        pinned : Pinned or None
            Rows with places on an earlier map.
        ended : callable
            Whether the time for the places is over.
        known : bool, default=False
            Whether they are known already, so that principal components will do.
        """
        self._require_neighbors(k, targets)
        _require_more_than(k, len(self.source))
        p, groups = self.parameters, self._groups()
        points = self._in_order(self._points())[first_of_group(groups)]
        kept = self._kept(f"all {k}", lambda: [self._drawn(points, k, None), torch.empty(0, SHARES)])
        targets = None if targets is None else targets_of_groups(targets, groups.cpu().numpy())

        def graph_of(some: Tensor | None) -> Tensor:
            graph = kept.graph.long().to(points.device) if some is None else self._drawn(points[some], k, None)
            if targets is None:
                return graph
            own = targets if some is None else targets[some.cpu().numpy()]
            return self._with_targets(graph, own, own)

        search = PlaceSearch(
            *(points, graph_of, int(p.n_components), float(p.exaggeration), p.init, self.state.seed, ended)
        )
        if known:
            found = Places(start_of_components(points, int(p.n_components)), 1.0)
        else:
            found = search.new() if pinned is None else search.beside(_of_groups(pinned, groups))
        self.state.choices.pop("places", None)
        if found.components:
            self.state.choices["places"] = COMPONENTS
        return kept, found._replace(codes=found.codes[groups])

    def pinned(self, earlier: FitState) -> Pinned:
        """Return the places of all rows on the map of an earlier fit, at which those of this one begin."""
        rows = np.arange(len(self.source))
        return Pinned(rows, np.concatenate([earlier.locate(block)[0] for block in self._blocks()]), exactly=False)

    def _require_neighbors(self, k: int | Edges, targets: Targets | None) -> None:
        if targets is not None and not k:
            raise PartError("supervised= draws neighbours from a row's class: leave neighbors='auto' for 2 components")
        if self.parameters.density_weight and not k:
            raise PartError("density_weight= takes radii of neighbours: leave neighbors='auto' for 2 components")

    def _with_targets(self, graph: Tensor, mine: Targets, others: Targets) -> Tensor:
        """Return the neighbours of rows, a fraction of them replaced by rows of like y."""
        fraction, seed = float(self.parameters.supervised), self.state.seed
        self.state.choices["supervised"] = describe_targets(others, fraction)
        return with_targets(graph, mine, others, fraction, seed)

    def start(self, places: Tensor | None = None) -> None:
        """Let a map start at the places of its rows, or at principal components, unless it continues an earlier fit."""
        if places is None and (self.state.n_iter or self.parameters.init != "pca"):
            return
        some, numbers = self.some, self.train[some_of(len(self.train))]
        if places is not None:
            some, places = flat(self.source.read(numbers)), places[torch.from_numpy(numbers).to(places.device)]
        start_at_components(self.state.model, self.state.scaling(as_tensor(some).to(self.state.device)).float(), places)

    def place(self, places: Sequence[Tensor]) -> None:
        """Let the encoder of a map place rows among all rows of the fit, which become its landmarks.

        Their codes are the places of training and held-out rows, or, where none are given, the encoder's means.
        """
        model = self.state.model.eval()
        without_placement(model)  # of an attempt that was interrupted
        some = self._inputs(self.some)
        columns = some.shape[1]
        components = LANDMARK_COMPONENTS if columns > LANDMARK_COLUMNS else None
        centre, axes = principal_axes(some, components or 1)
        components = axes.shape[1] if components else None
        first = first_of_group(self._groups())  # groups are numbered in the order of the rows
        encoder = PlacedEncoder(model.encoder, columns, model.sizes.latent, len(first), components)
        encoder = encoder.to(self.state.device)
        codes = (self._in_order(places) if places else self._means())[first]
        encoder.place(self._inputs_of(first), codes, centre, axes)
        network = Placement(cast(Network, model.parts.encoder), len(first), columns, components)
        model.encoder, model.parts = encoder.eval(), replace(model.parts, encoder=network)

    def _groups(self) -> Tensor:
        """Return the group of each row, from 0 on: those of a group are equal."""
        return grouped(self._inputs(block) for block in self._blocks())

    def _blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all rows, some at a time."""
        rows = LazyRows(self.source, self.state.model.sizes.features, missing=self.state.takes_missing)
        return (block for _, block in rows.pieces(POINTS // rows.shape[1] + 1))

    def _inputs_of(self, some: Tensor) -> Iterator[Tensor]:
        """Yield some rows, in order, as distances compare them."""
        start = 0
        for block in self._blocks():
            here = some[(some >= start) & (some < start + len(block))] - start
            start += len(block)
            yield self._inputs(block)[here]

    @torch.no_grad()
    def _inputs(self, block: NDArray[Any]) -> Tensor:
        """Return rows as distances compare them, in double precision."""
        scaled = self.state.scaling(_precise(as_tensor(block).to(self.state.device)))
        return self.state.model.encoder_inputs(scaled).double()

    @torch.no_grad()
    def _means(self) -> Tensor:
        """Return the means of the codes of all rows."""
        scaled = (self.state.scaling(_precise(as_tensor(block).to(self.state.device))) for block in self._blocks())
        return torch.cat([self.state.model.encode(rows.float()).mean for rows in scaled])

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what training and held-out rows have in the order of the source."""
        values = torch.cat(list(parts))
        return torch.empty_like(values).index_copy_(0, torch.cat(self._split), values)

    def objective(self, base: Objective) -> Objective:
        """Return an objective with the contrastive term of the map."""
        metric = self.parameters.metric
        return NeighborEmbedding(
            base,
            density_weight=float(self.parameters.density_weight),
            exaggeration=float(self.parameters.exaggeration),
            metric="euclidean" if callable(metric) else metric,
            units=self._units,
        )

    def _kept(self, k: str, search: Callable[[], list[Tensor]]) -> Graphs:
        """Return the graphs of the earlier fit, where those are of the same rows, or else of a search."""
        p, earlier = self.parameters, self.state.graphs
        key = f"{self.state.data_fingerprint} {self.state.seed} {k} {p.metric} {p.neighbor_components}"
        if earlier is not None and earlier.key == key and not callable(p.metric):
            return earlier
        return Graphs(key, *(graph.int().cpu() for graph in search()))

    def _drawn_of_training(self, k: int) -> list[Tensor]:
        """Return the neighbours of training and held-out rows among training rows, each of equal ones by its first."""
        points, queries = self._points()
        _require_more_than(k, len(points))
        groups = grouped([points]) if self.parameters.metric != "euclidean" else self._groups()[self._split[0]]
        groups = groups.unique(return_inverse=True)[1]
        first = first_of_group(groups)
        graph, held_out = (self._drawn(points[first], k, some) for some in (None, queries))
        return [torch.where(part < 0, -1, first[part.clamp_min(0)]) for part in (graph[groups], held_out)]

    def _drawn(self, points: Tensor, k: int, queries: Tensor | None) -> Tensor:
        """Return the neighbours of each point, or query, as often as they are drawn; -1 of a point without others.

        Where equal rows leave few points, they have as many neighbours as so few rows have by default, at the most.
        """
        if len(points) < 2:
            return torch.full((1 if queries is None else len(queries), SHARES), -1, device=points.device)
        metric: Any = self.parameters.metric
        few = max(1, choose_neighbors(len(points), 2)) if self.parameters.neighbors == "auto" else len(points) - 1
        k = min(k, few)
        searched = max(k, min(SEARCHED * k, len(points) - 1))
        found = neighbor_graph(points, searched, queries=queries, metric=metric)
        squares = squared_distances(points, found, queries, metric)
        return shares(found, affinities(squares, k))

    def _points(self) -> tuple[Tensor, Tensor]:
        """Return training and held-out rows whose Euclidean distances are in the order of the metric.

        They are made in double precision from the rows as they came, in the principal components of some of them. Sets,
        and rows that a function compares, keep all their columns.
        """
        state, metric = self.state, self.parameters.metric
        if metric == "haversine":
            _warn_of_date_line(self.some)
        components = None if metric == "jaccard" or callable(metric) else self.parameters.neighbor_components
        some = self._compared(self.some)
        project = projection(some, components)
        rows = LazyRows(self.source, state.model.sizes.features, missing=state.takes_missing)
        blocks = rows.pieces(POINTS // rows.shape[1] + 1)
        points = torch.cat([project(self._compared(block)) for _, block in blocks])
        searched = "all columns" if points.shape[1] == some.shape[1] else f"{points.shape[1]} principal components"
        given, basis = self.parameters.neighbor_components != "auto", f"{rows.shape[1]} columns"
        if components is None and self.parameters.neighbor_components is not None:
            given, basis = False, f"metric {metric_name(metric)}"
        state.choices["neighbor_components"] = describe_choice(searched, given, basis)
        train, held_out = self._split
        return points[train], points[held_out]

    @property
    def _split(self) -> tuple[Tensor, Tensor]:
        """The indices of training and held-out rows, on the device."""
        device = self.state.device
        return torch.from_numpy(self.train).to(device), torch.from_numpy(self.held_out).to(device)

    @property
    def _units(self) -> Affine | None:
        """The units to undo where rows are compared as they came; a table of mixed columns has no such numbers."""
        return self.state.scaling if self.state.table is None else None

    def _compared(self, block: NDArray[Any]) -> Tensor:
        """Return rows as the metric compares them, in double precision but for bytes."""
        model, units, metric = self.state.model, self._units, self.parameters.metric
        x = as_tensor(block).to(self.state.device)
        with torch.no_grad():
            scaled = self.state.scaling(_precise(x))
            if metric == "euclidean" or units is None:
                raw = filled = model.encoder_inputs(scaled)
            else:  # what undoes the units would lose short rows
                raw = filled = (x.double() if x.is_floating_point() else x.float()).flatten(1)
                if raw.isnan().any():
                    filled = torch.where(raw.isnan(), units.inverse(model.complete(scaled)), raw)
            if callable(metric):
                return filled
            require_fit(raw, metric)
            return normalise_for(filled, metric)


def _require_more_than(neighbors: int, rows: int) -> None:
    if rows <= neighbors:
        raise DataError(
            f"expected more than {neighbors} rows for {neighbors} neighbours each, got {rows}; lower neighbors"
        )


def _of_groups(pinned: Pinned, groups: Int[Tensor, " N"]) -> Pinned:
    """Return groups of equal rows that keep the place of the first of their rows that has one."""
    rows, first = np.unique(groups.cpu().numpy()[pinned.rows], return_index=True)
    return Pinned(rows, pinned.places[first], pinned.exactly)


def _warn_of_date_line(rows: NDArray[Any]) -> None:
    """Warn of places on both sides of the date line, which are near to each other, but not for an encoder."""
    longitude = (flat(rows)[:, 0] + 180) % 360 - 180
    if (longitude > DATE_LINE).any() and (longitude < -DATE_LINE).any():
        message = (
            "rows lie on both sides of the date line, where longitude jumps from 180 to -180, so that the encoder "
            "places near rows apart; give cos(lat) cos(lon), cos(lat) sin(lon) and sin(lat) as columns with "
            "metric='euclidean', or shift longitudes such that few rows lie at the jump"
        )
        warnings.warn(message, DiagnosisWarning, stacklevel=2)


def _precise(x: Tensor) -> Tensor:
    """Return rows in double precision, but for bytes."""
    return x.double() if x.is_floating_point() else x
