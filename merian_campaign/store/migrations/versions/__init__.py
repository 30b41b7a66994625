"""One module a schema version; `merian_campaign.store.version` lists them in order."""
