"""Asks every server given the same questions about the films and checks that they answer alike and from an index.

check_films.py DATABASE SERVER [SERVER...]
"""

import json
import sys

from combdb_client import Client

QUESTIONS = [
    # filter, options, the index that must answer
    ({"year": 1999}, {"sort": {"title": 1}, "limit": 20}, "year_1_title_1"),
    ({"year": {"$gte": 1990, "$lt": 1992}}, {"sort": {"year": 1, "title": 1}, "skip": 5, "limit": 50}, "year_1_title_1"),
    ({"genres": "Western"}, {"sort": {"year": -1}, "limit": 30}, "genres_1_year_-1"),
    ({"genres": "Western", "year": {"$lte": 1940}}, {"sort": {"year": -1}, "limit": 10}, "genres_1_year_-1"),
]


def stages(plan):
    """Every `stage` in a plan, from the outermost in."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan["stage"]
        for value in plan.values():
            yield from stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from stages(value)


def main(database, servers):
    clients = [Client(server, database, "films") for server in servers]
    for filter, options, index in QUESTIONS:
        # Ties in the sort order have no promised order: compare what is sorted by, and the set of ids of each group.
        answers = [list(client.find(filter, **options)) for client in clients]
        assert answers[0], f"nothing matches {filter}"
        keys = list(options["sort"])
        for server, answer in zip(servers, answers):
            sorted_by = [[film.get(key) for key in keys] for film in answer]
            expected = [[film.get(key) for key in keys] for film in answers[0]]
            assert sorted_by == expected, f"{server} answers {filter} otherwise than {servers[0]}"
        for server, client in zip(servers, clients):
            plan = client.explain(filter, **options)
            text = json.dumps(plan)
            assert index in text, f"{server} does not answer {filter} from {index}: {text}"
            assert "COLLSCAN" not in stages(plan) and "SORT" not in stages(plan), f"{server}: {text}"
        print(f"{json.dumps(filter)}: {len(answers[0])} films, from {index} on each of {len(servers)}")
    counts = {client.count() for client in clients}
    assert len(counts) == 1, f"different counts: {counts}"
    digests = {client.status().view_digest for client in clients}
    assert len(digests) == 1 and digests != {""}, f"different views: {digests}"
    print(f"{counts.pop()} films, one view: {digests.pop()[:16]}…")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
