"""One module a schema version; `merian_campaign.store.schema_version` lists them in order."""
