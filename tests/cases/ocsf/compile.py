#!/usr/bin/env python3
"""Compiles the facts that the OCSF export is checked against from the published schema.

    git clone https://github.com/ocsf/ocsf-schema && cd ocsf-schema && git checkout COMMIT
    python3 compile.py path/to/ocsf-schema COMMIT > schema-VERSION.json

The schema is Apache-2.0. What is kept: types, requirement, enums, siblings, profiles, deprecations and constraints
of the classes and objects named below; descriptions are left out. An object that is not named is not compiled, and
an export that uses it fails the check.
"""

import json
import pathlib
import sys

CLASSES = ["base_event", "network_activity", "http_activity", "entity_management", "application_lifecycle",
           "event_log_actvity"]  # the last is spelled so in the schema
OBJECTS = ["metadata", "product", "reporter", "http_request", "http_response", "url", "network_endpoint",
           "network_connection_info", "tls", "firewall_rule", "policy", "managed_entity"]

root, commit = pathlib.Path(sys.argv[1]), sys.argv[2]


def load(path):
    return json.loads((root / path).read_text())


def by_name(folder):
    return {item["name"]: item for item in (json.loads(p.read_text()) for p in sorted((root / folder).rglob("*.json")))}


dictionary, categories = load("dictionary.json"), load("categories.json")["attributes"]
events, objects = by_name("events"), by_name("objects")


def with_includes(attributes):
    """The attributes of one file; those a profile brings say which."""
    own, found = dict(attributes), {}
    for path in own.pop("$include", []):
        profile = load(path)
        for name, facts in profile["attributes"].items():
            found[name] = {**facts, "profile": profile["name"]}
    for name, facts in own.items():
        found[name] = merged(found.get(name, {}), facts)
    return found


def merged(base, over):
    result = {**base, **over}
    if "enum" in base and "enum" in over:
        result["enum"] = {**base["enum"], **over["enum"]}
    return result


def settled(table, name):
    """An event or object with all that it inherits."""
    item = table[name]
    attributes = with_includes(item.get("attributes", {}))
    if "extends" not in item:
        return {**item, "attributes": attributes}
    parent = settled(table, item["extends"])
    for attribute, facts in attributes.items():
        parent["attributes"][attribute] = merged(parent["attributes"].get(attribute, {}), facts)
    return {**parent, **item, "attributes": parent["attributes"]}


def compiled(attributes):
    result = {}
    for name, facts in sorted(attributes.items()):
        facts = merged(dictionary["attributes"].get(name, {}), facts)
        kept = {"type": facts["type"], "requirement": facts.get("requirement", "optional")}
        if facts.get("is_array"):
            kept["array"] = True
        if "enum" in facts:
            kept["enum"] = {value: entry["caption"] for value, entry in facts["enum"].items()}
        for key in ("sibling", "profile"):
            if facts.get(key):
                kept[key] = facts[key]
        if "@deprecated" in facts:
            kept["deprecated"] = facts["@deprecated"]["since"]
        result[name] = kept
    return result


def compiled_class(name):
    event = settled(events, name)
    category = categories.get(event["category"], {"uid": 0, "caption": "Uncategorized"})
    uid = category["uid"] * 1000 + event.get("uid", 0)
    attributes = compiled(event["attributes"])
    attributes["category_uid"]["enum"] = {str(category["uid"]): category["caption"]}
    attributes["class_uid"]["enum"] = {str(uid): event["caption"]}
    attributes["type_uid"]["enum"] = {str(uid * 100 + int(activity)): f"{event['caption']}: {caption}"
                                      for activity, caption in attributes["activity_id"]["enum"].items()}
    return str(uid), {"name": name, "constraints": event.get("constraints", {}), "attributes": attributes}


def compiled_type(facts):
    return {key: facts[key] for key in ("type", "range", "max_len", "values") if key in facts}


print(json.dumps({
    "source": "https://github.com/ocsf/ocsf-schema",
    "version": load("version.json")["version"],
    "commit": commit,
    "licence": "Apache-2.0",
    "types": {name: compiled_type(facts) for name, facts in dictionary["types"]["attributes"].items()},
    "classes": dict(compiled_class(name) for name in CLASSES),
    "objects": {name: {"constraints": objects[name].get("constraints", settled(objects, name).get("constraints", {})),
                       "attributes": compiled(settled(objects, name)["attributes"])} for name in OBJECTS},
}, indent=1, sort_keys=True, ensure_ascii=False))
