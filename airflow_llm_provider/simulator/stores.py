"""The wire of Qdrant, Pinecone and Weaviate, over vectors in memory: what the stores' clients need of it.

Each evaluates its filters by its own rules, and compares with every vector. The header of each with the key has to be there; the
key ``invalid`` is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["Stores"]


@dataclass
class _Vector:
    """One vector with what was given beside it."""

    vector: list[float]
    data: dict[str, Any]
    namespace: str = ""


@dataclass
class _Index:
    """One index, collection or class."""

    size: int
    told: dict[str, Any] = field(default_factory=dict)
    vectors: dict[Any, _Vector] = field(default_factory=dict)

    def nearest(self, vector: Sequence[float], fits: Callable[[_Vector], bool]) -> list[tuple[float, Any, _Vector]]:
        """Give those that fit, with their scores, the best first."""
        scored = ((_cosine(vector, one.vector), key, one) for key, one in self.vectors.items() if fits(one))
        return sorted(scored, key=lambda found: -found[0])


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


class _WireError(Exception):
    """An answer that is an error.

    Args:
        status: Its status.
        message: What is told.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stores:
    """The indexes of all stores."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._qdrant: dict[str, _Index] = {}
        self._pinecone: dict[str, _Index] = {}
        self._weaviate: dict[str, _Index] = {}

    def routes(self) -> list[Route]:
        """Give the paths that are served."""
        qdrant, pinecone, weaviate = self._told_qdrant, self._told_pinecone, self._told_weaviate
        return [
            self._route("/collections/{index}", qdrant, self._collection, "GET", "PUT", "DELETE"),
            self._route("/collections/{index}/index", qdrant, self._payload_index, "PUT"),
            self._route("/collections/{index}/points", qdrant, self._points, "PUT", "POST"),
            self._route("/collections/{index}/points/{action}", qdrant, self._points_action, "POST"),
            self._route("/indexes", pinecone, self._new_index, "POST"),
            self._route("/indexes/{index}", pinecone, self._index, "GET", "DELETE"),
            self._route("/_pinecone/{index}/{action:path}", pinecone, self._index_action, "GET", "POST"),
            self._route("/v1/schema", weaviate, self._new_class, "POST"),
            self._route("/v1/schema/{index}", weaviate, self._told_class, "GET", "DELETE"),
            self._route("/v1/batch/objects", weaviate, self._objects, "POST", "DELETE"),
            self._route("/v1/graphql", weaviate, self._graphql, "POST"),
        ]

    def _route(
        self, path: str, tell: Callable[[Request, int, str], Response], answer: Callable[..., Any], *methods: str
    ) -> Route:
        async def serve(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("api-key")
            try:
                if given in (None, "", "invalid"):
                    raise _WireError(401, "the key is missing or wrong")
                text = await request.body()
                told = answer(request, json.loads(text) if text else {})
            except _WireError as error:
                return tell(request, error.status, str(error))
            return told if isinstance(told, Response) else JSONResponse(told)

        return Route(path, serve, methods=methods)

    # Qdrant

    @staticmethod
    def _told_qdrant(request: Request, status: int, message: str) -> Response:
        return JSONResponse({"status": {"error": message}, "time": 0.0}, status)

    def _of_qdrant(self, request: Request) -> _Index:
        name = request.path_params["index"]
        if name not in self._qdrant:
            raise _WireError(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._qdrant[name]

    def _collection(self, request: Request, body: Any) -> Any:
        name = request.path_params["index"]
        if request.method == "PUT":
            if name in self._qdrant:
                raise _WireError(409, f"Wrong input: Collection `{name}` already exists!")
            self._qdrant[name] = _Index(body["vectors"]["size"], {"vectors": body["vectors"]})
            return _qdrant(True)
        index = self._of_qdrant(request)
        if request.method == "DELETE":
            return _qdrant(bool(self._qdrant.pop(name)))
        counted = {"points_count": len(index.vectors), "indexed_vectors_count": 0, "segments_count": 1}
        config = {
            "params": {**index.told, "shard_number": 1, "replication_factor": 1, "on_disk_payload": True},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        }
        return _qdrant({"status": "green", "optimizer_status": "ok", **counted, "config": config, "payload_schema": {}})

    def _payload_index(self, request: Request, body: Any) -> Any:
        self._of_qdrant(request)
        return _qdrant({"operation_id": 1, "status": "completed"})

    def _points(self, request: Request, body: Any) -> Any:
        index = self._of_qdrant(request)
        if request.method == "POST":
            found = [(key, index.vectors[key]) for key in body["ids"] if key in index.vectors]
            return _qdrant([_point(key, one, body) for key, one in found])
        for point in body["points"]:
            if len(point["vector"]) != index.size:
                raise _WireError(
                    400,
                    f"Wrong input: Vector dimension error: expected dim: {index.size}, got {len(point['vector'])}",
                )
            index.vectors[point["id"]] = _Vector(point["vector"], point.get("payload") or {})
        return _qdrant({"operation_id": 1, "status": "completed"})

    def _points_action(self, request: Request, body: Any) -> Any:
        index = self._of_qdrant(request)

        def fits(one: _Vector) -> bool:
            return _qdrant_fits(body.get("filter") or {}, one.data)

        match request.path_params["action"]:
            case "query":
                query = body["query"]
                vector = query["nearest"] if isinstance(query, dict) else query
                found = index.nearest(vector, fits)[: body.get("limit", 10)]
                return _qdrant({"points": [{**_point(key, one, body), "score": score} for score, key, one in found]})
            case "scroll":
                keys = [key for key, one in sorted(index.vectors.items()) if fits(one)]
                start = keys.index(body["offset"]) if body.get("offset") is not None else 0
                page = keys[start : start + body.get("limit", 10) + 1]
                rest = page[body.get("limit", 10) :]
                told = [_point(key, index.vectors[key], body) for key in page[: body.get("limit", 10)]]
                return _qdrant({"points": told, "next_page_offset": rest[0] if rest else None})
            case "count":
                return _qdrant({"count": sum(map(fits, index.vectors.values()))})
            case "delete":
                for key in body.get("points") or [key for key, one in index.vectors.items() if fits(one)]:
                    index.vectors.pop(key, None)
                return _qdrant({"operation_id": 1, "status": "completed"})
        raise _WireError(404, "there is no such path")

    # Pinecone

    @staticmethod
    def _told_pinecone(request: Request, status: int, message: str) -> Response:
        code = {401: "UNAUTHENTICATED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}.get(status, "INVALID_ARGUMENT")
        return JSONResponse({"status": status, "error": {"code": code, "message": message}}, status)

    def _description(self, request: Request, name: str) -> dict[str, Any]:
        index = self._pinecone[name]
        host = f"{request.url.scheme}://{request.url.netloc}/_pinecone/{name}"
        return {**index.told, "host": host, "status": {"ready": True, "state": "Ready"}, "vector_type": "dense"}

    def _new_index(self, request: Request, body: Any) -> Any:
        name = body["name"]
        if not re.fullmatch(r"[a-z0-9-]{1,45}", name):
            raise _WireError(400, "Name must consist of lower case alphanumeric characters or '-'")
        if name in self._pinecone:
            raise _WireError(409, "Resource already exists")
        self._pinecone[name] = _Index(body["dimension"], {**body, "deletion_protection": "disabled"})
        return JSONResponse(self._description(request, name), 201)

    def _index(self, request: Request, body: Any) -> Any:
        name = request.path_params["index"]
        if name not in self._pinecone:
            raise _WireError(404, f"Resource {name} not found")
        if request.method == "DELETE":
            del self._pinecone[name]
            return Response(status_code=202)
        return self._description(request, name)

    def _index_action(self, request: Request, body: Any) -> Any:
        name = request.path_params["index"]
        if name not in self._pinecone:
            raise _WireError(404, f"Resource {name} not found")
        index, query = self._pinecone[name], request.query_params
        namespace = query.get("namespace", "") if request.method == "GET" else body.get("namespace") or ""
        here = {key: one for key, one in index.vectors.items() if one.namespace == namespace}
        match request.path_params["action"]:
            case "vectors/upsert":
                for given in body["vectors"]:
                    _check_pinecone(index, given)
                    key = (namespace, given["id"])
                    index.vectors[key] = _Vector(given["values"], given.get("metadata") or {}, namespace)
                return {"upsertedCount": len(body["vectors"])}
            case "query":

                def fits(one: _Vector) -> bool:
                    return one.namespace == namespace and _pinecone_fits(body.get("filter") or {}, one.data)

                found = index.nearest(body["vector"], fits)[: body["topK"]]
                return {
                    "matches": [
                        {
                            "id": key[1],
                            "score": score,
                            **({"values": one.vector} if body.get("includeValues") else {}),
                            **({"metadata": one.data} if body.get("includeMetadata") else {}),
                        }
                        for score, key, one in found
                    ],
                    "namespace": namespace,
                    "usage": {"readUnits": 1},
                }
            case "vectors/list":
                ids = sorted(key[1] for key in here)
                start, limit = int(query.get("paginationToken", 0)), int(query.get("limit", 100))
                following = {"pagination": {"next": str(start + limit)}} if start + limit < len(ids) else {}
                return {
                    "vectors": [{"id": one} for one in ids[start : start + limit]],
                    "namespace": namespace,
                    **following,
                }
            case "vectors/fetch":
                wanted = [(namespace, one) for one in query.getlist("ids")]
                told = {key[1]: (key, here[key]) for key in wanted if key in here}
                return {
                    "vectors": {
                        one: {"id": one, "values": vector.vector, "metadata": vector.data}
                        for one, (_, vector) in told.items()
                    },
                    "namespace": namespace,
                }
            case "vectors/delete":
                for one in body.get("ids") or ():
                    index.vectors.pop((namespace, one), None)
                return {}
            case "describe_index_stats":
                counts: dict[str, Any] = {}
                for vector in index.vectors.values():
                    counts.setdefault(vector.namespace, {"vectorCount": 0})["vectorCount"] += 1
                total = len(index.vectors)
                return {"namespaces": counts, "dimension": index.size, "indexFullness": 0, "totalVectorCount": total}
        raise _WireError(404, "there is no such path")

    # Weaviate

    @staticmethod
    def _told_weaviate(request: Request, status: int, message: str) -> Response:
        return JSONResponse({"error": [{"message": message}]}, status)

    def _new_class(self, request: Request, body: Any) -> Any:
        name = body["class"]
        if not re.fullmatch(r"[A-Z][_0-9A-Za-z]*", name):
            raise _WireError(422, f"'{name}' is not a valid class name")
        if name in self._weaviate:
            raise _WireError(422, f"class name {name} already exists")
        self._weaviate[name] = _Index(0, body)
        return body

    def _told_class(self, request: Request, body: Any) -> Any:
        name = request.path_params["index"]
        if name not in self._weaviate:
            return Response(status_code=404)
        if request.method == "DELETE":
            del self._weaviate[name]
            return Response(status_code=200)
        return self._weaviate[name].told

    def _objects(self, request: Request, body: Any) -> Any:
        if request.method == "DELETE":
            match = body["match"]
            index = self._weaviate[match["class"]]
            found = [key for key in match["where"]["valueTextArray"] if key in index.vectors]
            for key in found:
                del index.vectors[key]
            return {"match": match, "results": {"matches": len(found), "successful": len(found), "failed": 0}}
        told = []
        for given in body["objects"]:
            index = self._weaviate[given["class"]]
            index.size = index.size or len(given["vector"])
            result: dict[str, Any] = {"status": "SUCCESS"}
            if len(given["vector"]) != index.size:
                told_length = f"new node has a vector with length {len(given['vector'])}"
                message = f"{told_length}. Existing nodes have vectors with length {index.size}"
                result = {"status": "FAILED", "errors": {"error": [{"message": message}]}}
            else:
                index.vectors[given["id"]] = _Vector(given["vector"], given["properties"])
            told.append({**given, "result": result})
        return told

    def _graphql(self, request: Request, body: Any) -> Any:
        [(kind, _, classes)] = _parse_graphql(body["query"])
        [(name, arguments, fields)] = classes
        if name not in self._weaviate:
            return {"data": None, "errors": [{"message": f'Cannot query field "{name}" on type "{kind}ObjectsObj".'}]}
        index, where = self._weaviate[name], arguments.get("where")

        def fits(one: _Vector) -> bool:
            return where is None or _weaviate_fits(where, one.data)

        if kind == "Aggregate":
            return {"data": {kind: {name: [{"meta": {"count": sum(map(fits, index.vectors.values()))}}]}}}
        if "nearVector" in arguments:
            found = index.nearest(arguments["nearVector"]["vector"], fits)
        else:
            found = [(0.0, key, one) for key, one in sorted(index.vectors.items()) if fits(one)]
        start = arguments.get("offset", 0)
        told = []
        for score, key, one in found[start : start + arguments.get("limit", 100)]:
            beside = {"id": key, "distance": 1 - score, "vector": one.vector}
            told.append(
                {
                    field: {inner: beside[inner] for inner, _, _ in members} if members else one.data.get(field)
                    for field, _, members in fields
                }
            )
        return {"data": {kind: {name: told}}}


def _qdrant(result: Any) -> dict[str, Any]:
    return {"result": result, "status": "ok", "time": 0.0}


def _point(key: Any, one: _Vector, body: Mapping[str, Any]) -> dict[str, Any]:
    wanted = body.get("with_payload")
    data = {name: one.data[name] for name in wanted} if isinstance(wanted, list) else one.data if wanted else None
    length = math.hypot(*one.vector) or 1.0
    # Vectors that are compared by their angle are kept with the length 1.
    vector = [number / length for number in one.vector] if body.get("with_vector") else None
    return {"id": key, "version": 1, "payload": data, "vector": vector}


def _qdrant_fits(condition: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    if "key" in condition:
        given = payload.get(condition["key"])
        members = given if isinstance(given, list) else [given]
        match = condition["match"]
        wanted = match["any"] if "any" in match else [match["value"]]
        return any(member in wanted for member in members)
    return (
        all(_qdrant_fits(part, payload) for part in condition.get("must") or ())
        and not any(_qdrant_fits(part, payload) for part in condition.get("must_not") or ())
        and (not condition.get("should") or any(_qdrant_fits(part, payload) for part in condition["should"]))
    )


def _pinecone_fits(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    for name, wanted in condition.items():
        if name == "$and":
            fits = all(_pinecone_fits(part, metadata) for part in wanted)
        elif name == "$or":
            fits = any(_pinecone_fits(part, metadata) for part in wanted)
        else:
            given = metadata.get(name)
            members = given if isinstance(given, list) else [given]
            fits = any(member in wanted["$in"] for member in members)
        if not fits:
            return False
    return True


def _check_pinecone(index: _Index, given: Mapping[str, Any]) -> None:
    if len(given["values"]) != index.size:
        raise _WireError(
            400, f"Vector dimension {len(given['values'])} does not match the dimension of the index {index.size}"
        )
    if not any(given["values"]):
        raise _WireError(400, "Dense vectors must contain at least one non-zero value.")
    if not given["id"].isascii():
        raise _WireError(400, "Vector ID must be ASCII")
    for name, value in (given.get("metadata") or {}).items():
        texts = isinstance(value, list) and all(isinstance(member, str) for member in value)
        if not texts and not isinstance(value, (str, int, float)):
            raise _WireError(400, f"Metadata value must be a string, number, boolean or list of strings, got {name}")


def _weaviate_fits(where: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    match where["operator"]:
        case "And":
            return all(_weaviate_fits(part, properties) for part in where["operands"])
        case "Or":
            return any(_weaviate_fits(part, properties) for part in where["operands"])
    given = properties.get(where["path"][0])
    members = given if isinstance(given, list) else [given]
    wanted = where["valueText"]
    return any(member in (wanted if isinstance(wanted, list) else [wanted]) for member in members)


_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_]\w*)|(-?\d[\d.eE+-]*)|([{}()\[\]:,]))')

_Selection = list[tuple[str, dict[str, Any], Any]]


def _parse_graphql(query: str) -> _Selection:
    """Read as much of GraphQL as the stores' clients write: fields with arguments and members."""
    tokens = [match.group().strip() for match in _TOKEN.finditer(query)]
    rest = iter([token for token in tokens if token != ","])
    ahead: list[str] = []

    def peek() -> str:
        if not ahead:
            ahead.append(next(rest))
        return ahead[0]

    def take() -> str:
        token = peek()
        ahead.clear()
        return token

    def until(end: str) -> Iterator[None]:
        while peek() != end:
            yield
        take()

    def value() -> Any:
        token = take()
        if token == "{":
            found = {}
            for _ in until("}"):
                name = take()
                take()
                found[name] = value()
            return found
        if token == "[":
            return [value() for _ in until("]")]
        return token if token[0].isalpha() else json.loads(token)

    def selection() -> _Selection:
        take()
        found: _Selection = []
        for _ in until("}"):
            name, arguments, members = take(), {}, None
            if peek() == "(":
                take()
                for _ in until(")"):
                    argument = take()
                    take()
                    arguments[argument] = value()
            if peek() == "{":
                members = selection()
            found.append((name, arguments, members))
        return found

    return selection()
