"""N-Triples (W3C, 2014): a line for each edge, `subject predicate object .`"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from mpnn import HeteroGraph, files
from mpnn.datasets.hetero_record import HeteroTables, Names, as_path, edge_tensor
from mpnn.datasets.record import DataError
from mpnn.datasets.text import read_text
from mpnn.graph.hetero import EdgeType

RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
RESOURCE, LITERAL = "resource", "literal"  # types of nodes that no triple gives a type

_HEX = "[0-9A-Fa-f]"
_CHARACTER = rf"(?![dD][89a-fA-F]){_HEX}{{4}}"  # but a half of a pair of UTF-16
_ESCAPE = rf"\\u{_CHARACTER}|\\U0000{_CHARACTER}|\\U00(?:0[1-9a-fA-F]|10){_HEX}{{4}}"
_IRI = rf'<(?:[^\x00-\x20<>"{{}}|^`\\]|{_ESCAPE})*>'
_BLANK = r"_:[\w:](?:[\w:.·-]*[\w:·-])?"
_STRING = rf'"(?:[^"\\\n]|\\[tbnrf"\'\\]|{_ESCAPE})*"(?:\^\^{_IRI}|@[a-zA-Z]+(?:-[a-zA-Z0-9]+)*)?'
_LINE = re.compile(
    rf"[ \t]*({_IRI}|{_BLANK})[ \t]*({_IRI})[ \t]*({_IRI}|{_BLANK}|{_STRING})[ \t]*\.[ \t]*(?:#.*)?"
)
_NOTHING = re.compile(r"[ \t]*(?:#.*)?")
_FORBIDDEN = re.compile(r'[\x00-\x20<>"{}|^`\\]')
MOST_SHOWN = 60  # characters of a bad line in a sentence


def load_triples(path: str | Path, node_type: str | None = RDF_TYPE) -> HeteroTables:
    """Read a typed graph from N-Triples, `.nt` or `.nt.gz`.

    Subjects and objects are nodes, in the order in which the file names them, and predicates are relations.
    A name is what stands in an IRI, and a blank node or a literal as it is written, `_:b`, `"7"`.

    Args:
        path: the file.
        node_type: the predicate whose object is the type of its subject; such triples are no edges, but the
            second one of a subject is. A node without one is of type "resource" or "literal". None for no
            such predicate: all its triples are edges.

    Raises:
        DataError: the file is missing, or a line is no triple.
    """
    path = as_path(path)
    kind: dict[str, str] = {}
    triples: list[tuple[str, str, str]] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            if _NOTHING.fullmatch(line):
                continue
            shown = line if len(line) <= MOST_SHOWN else line[:MOST_SHOWN] + "..."
            raise DataError(
                f"{path} line {number}: it should be `subject predicate object .`, but is {shown!r}"
            )
        subject, predicate, object_ = (_name(term) for term in found.groups())
        if predicate == node_type and subject not in kind:
            kind[subject] = object_
        else:
            triples.append((subject, predicate, object_))
    names, ends = Names(), dict[EdgeType, list[tuple[int, int]]]()
    for subject in kind:
        names.number(kind[subject], subject)
    for subject, predicate, object_ in triples:
        source, destination = (kind.get(name) or _kind_of(name) for name in (subject, object_))
        pair = names.number(source, subject), names.number(destination, object_)
        ends.setdefault((source, predicate, destination), []).append(pair)
    called = names.names()
    sizes = {name: len(nodes) for name, nodes in called.items()}
    edges = {edge_type: edge_tensor(pairs) for edge_type, pairs in ends.items()}
    return HeteroTables(HeteroGraph(sizes, edges), called)


def save_triples(tables: HeteroTables, path: str | Path, node_type: str | None = RDF_TYPE) -> None:
    """Write the nodes and edges of a typed graph as N-Triples, packed if the name ends in `.gz`.

    `load_triples` reads the same graph back, with the nodes of each type in their order. Features are not
    written, nor are types without nodes and relations without edges. A literal can be no subject: it is of
    type "literal", and found again by the edges that enter it.

    Args:
        tables: the graph and the names of its nodes.
        path: the file, which is replaced.
        node_type: the predicate of the triples that say the type of each node; None for no such triples,
            without which nodes without edges are lost, and the types of all.

    Raises:
        DataError: nodes without a name of their own, a literal that is a subject or of another type, or a
            file that cannot be written.
    """
    tables.check()
    path, lines = as_path(path), []
    for name, nodes in tables.names.items():
        wrong = [node for node in nodes if _kind_of(node) == LITERAL != name]
        if wrong:
            raise DataError(
                f"{wrong[0]} is a literal, but of type {name!r}: literals are of type {LITERAL!r}"
            )
        if node_type is not None and name != LITERAL:
            lines += [f"{_term(node)} {_term(node_type)} {_term(name)} ." for node in nodes]
    for edge_type in tables.graph.edge_types:
        source, relation, destination = edge_type
        if source == LITERAL and tables.graph[edge_type].num_edges:
            raise DataError(f"edges of {edge_type!r} leave literals, which can be no subject of a triple")
        for a, b in tables.graph[edge_type].edge_index.t().tolist():
            ends = tables.names[source][a], tables.names[destination][b]
            lines.append(f"{_term(ends[0])} {_term(relation)} {_term(ends[1])} .")
    content = "".join(line + "\n" for line in lines).encode()
    files.write(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content, DataError)


def _name(term: str) -> str:
    """What a node or a relation is called."""
    if not term.startswith("<"):
        return term
    return re.sub(_ESCAPE, lambda escape: chr(int(escape[0][2:], 16)), term[1:-1])


def _term(name: str) -> str:
    """How a node or a relation is written."""
    if re.fullmatch(f"{_BLANK}|{_STRING}", name):
        return name
    return "<" + _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04X}", name) + ">"


def _kind_of(name: str) -> str:
    return LITERAL if name.startswith('"') else RESOURCE
