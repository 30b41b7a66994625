"""Migrations of the tracking database, run by `merian_campaign.store.server.migrate`."""
