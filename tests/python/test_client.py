"""The gRPC interface from Python: run by tests/tests/python_client.rs, or by hand against a server with an empty topic:

COMBDB_SERVER=127.0.0.1:27027 COMBDB_DB=demo .venv/bin/python tests/python/test_client.py
"""

import json
import os
import unittest

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from combdb_client import Client, document_pb2, documents_pb2

SERVER = os.environ.get("COMBDB_SERVER", "127.0.0.1:27027")
DATABASE = os.environ.get("COMBDB_DB", "demo")


def mongodb_code(error):
    """MongoDB's number in a refusal."""
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return int(info.metadata["code"])
    return None


class DocumentsFromPython(unittest.TestCase):
    def setUp(self):
        self.films = Client(SERVER, DATABASE, self.id().rsplit(".", 1)[1])
        self.addCleanup(self.films.close)
        self.films.insert(
            {"_id": 1, "title": "Alien", "year": 1979, "cast": ["Weaver", "Holm"]},
            {"_id": 2, "title": "Brazil", "year": 1985, "cast": ["Pryce"]},
            {"_id": 3, "title": "Chinatown", "year": 1974, "cast": ["Nicholson", "Dunaway"]},
        )

    def test_find_with_filter_sort_limit_and_projection(self):
        found = self.films.find(
            {"year": {"$lt": 1985}}, sort={"year": -1}, limit=1, projection={"title": 1, "_id": 0}
        )
        self.assertEqual(list(found), [{"title": "Alien"}])

    def test_an_index_answers(self):
        self.assertEqual(self.films.create_index({"cast": 1, "year": -1}), "cast_1_year_-1")
        self.assertEqual([film["_id"] for film in self.films.find({"cast": "Holm"})], [1])
        self.assertIn("cast_1_year_-1", json.dumps(self.films.explain({"cast": "Holm"})))

    def test_an_aggregation(self):
        by_age = {"$group": {"_id": {"$gte": ["$year", "$$new"]}, "films": {"$sum": 1}}}
        results = self.films.aggregate(by_age, {"$sort": {"_id": 1}}, variables={"new": 1985})
        self.assertEqual(list(results), [{"_id": False, "films": 2}, {"_id": True, "films": 1}])

    def test_update_count_and_delete(self):
        answer = self.films.update_many({"year": {"$lt": 1980}}, {"$set": {"old": True}})
        self.assertEqual((answer.matched, answer.modified), (2, 2))
        self.assertEqual(self.films.count({"old": True}), 2)
        self.assertEqual(self.films.delete_many({"old": True}), 2)
        self.assertEqual(self.films.count(), 1)

    def test_a_refusal_carries_status_and_code(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.films.insert({"_id": 1})
        self.assertEqual(caught.exception.code(), grpc.StatusCode.ALREADY_EXISTS)
        self.assertEqual(mongodb_code(caught.exception), 11000)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.films.find({"year": {"$foo": 1}}))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(mongodb_code(caught.exception), 2)

    def test_a_stream_of_many_batches(self):
        self.films.insert(*({"_id": 100 + number} for number in range(1000)))
        found = [film["_id"] for film in self.films.find({"_id": {"$gte": 100}}, sort={"_id": 1}, batch_size=64)]
        self.assertEqual(found, list(range(100, 1100)))

    def test_bson_bytes_travel_as_they_are(self):
        # {"_id": 9, "b": true}, written out by hand.
        raw = b"\x12\x00\x00\x00\x10_id\x00\x09\x00\x00\x00\x08b\x00\x01\x00"
        self.films.documents.Insert(
            documents_pb2.InsertRequest(**self.films.where, documents=[document_pb2.Document(bson=raw)])
        )
        answer = self.films.documents.FindOne(
            documents_pb2.FindOneRequest(
                **self.films.where,
                filter=document_pb2.Document(extended_json='{"_id": 9}'),
                format=document_pb2.DOCUMENT_FORMAT_BSON,
            )
        )
        self.assertEqual(answer.document.bson, raw)


if __name__ == "__main__":
    unittest.main()
