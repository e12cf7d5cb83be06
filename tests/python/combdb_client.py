"""A small client of CombDB: generated stubs, and documents as Python dictionaries by way of Extended JSON."""

import json
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent / "generated"))

from combdb.v1 import (  # noqa: E402  (the path above comes first)
    collections_pb2,
    collections_pb2_grpc,
    databases_pb2,
    databases_pb2_grpc,
    document_pb2,
    documents_pb2,
    documents_pb2_grpc,
)

EXTENDED_JSON = document_pb2.DOCUMENT_FORMAT_EXTENDED_JSON


def document(value):
    """A dictionary as the message `Document`."""
    return document_pb2.Document(extended_json=json.dumps(value))


class Client:
    """One collection of one database on one server."""

    def __init__(self, address, database, collection):
        self.channel = grpc.insecure_channel(address)
        self.where = {"database": database, "collection": collection}
        self.databases = databases_pb2_grpc.DatabasesStub(self.channel)
        self.collections = collections_pb2_grpc.CollectionsStub(self.channel)
        self.documents = documents_pb2_grpc.DocumentsStub(self.channel)

    def insert(self, *values, unordered=False):
        """Inserts documents and gives the server's answer."""
        request = documents_pb2.InsertRequest(
            **self.where, documents=[document(value) for value in values], unordered=unordered
        )
        return self.documents.Insert(request, timeout=60)

    def _find_request(self, filter=None, sort=None, skip=0, limit=0, projection=None, hint=None, batch_size=0):
        request = documents_pb2.FindRequest(
            **self.where, skip=skip, limit=limit, batch_size=batch_size, format=EXTENDED_JSON
        )
        for name, value in (("filter", filter), ("sort", sort), ("projection", projection)):
            if value is not None:
                getattr(request, name).CopyFrom(document(value))
        if hint is not None:
            request.hint.name = hint
        return request

    def find(self, filter=None, **options):
        """Yields the documents that match."""
        for batch in self.documents.Find(self._find_request(filter, **options), timeout=60):
            for found in batch.documents:
                yield json.loads(found.extended_json)

    def explain(self, filter=None, **options):
        """The plan of a find."""
        request = documents_pb2.ExplainRequest(find=self._find_request(filter, **options))
        return json.loads(self.documents.Explain(request, timeout=60).plan.extended_json)

    def aggregate(self, *stages, variables=None):
        """Yields what the stages make of the documents."""
        request = documents_pb2.AggregateRequest(
            **self.where, pipeline=[document(stage) for stage in stages], format=EXTENDED_JSON
        )
        if variables is not None:
            request.options.variables.CopyFrom(document(variables))
        for batch in self.documents.Aggregate(request, timeout=60):
            for result in batch.documents:
                yield json.loads(result.extended_json)

    def count(self, filter=None):
        """How many documents match."""
        request = documents_pb2.CountRequest(**self.where, filter=document(filter or {}))
        return self.documents.Count(request, timeout=60).count

    def update_many(self, filter, update):
        """Updates every document that matches."""
        request = documents_pb2.UpdateRequest(**self.where, filter=document(filter), update=document(update))
        return self.documents.UpdateMany(request, timeout=60)

    def delete_many(self, filter):
        """Deletes every document that matches."""
        request = documents_pb2.DeleteRequest(**self.where, filter=document(filter))
        return self.documents.DeleteMany(request, timeout=60).deleted

    def create_index(self, keys, unique=False):
        """Creates an index and gives its name."""
        index = collections_pb2.Index(keys=document(keys), unique=unique)
        return self.collections.CreateIndex(
            collections_pb2.CreateIndexRequest(**self.where, index=index), timeout=60
        ).name

    def status(self):
        """How the database stands, with digests."""
        request = databases_pb2.DatabaseStatusRequest(database=self.where["database"], with_digest=True)
        return self.databases.Status(request, timeout=60)

    def close(self):
        """Closes the connection."""
        self.channel.close()
