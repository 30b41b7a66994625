-- Which tracts the exposures of a campaign overlap, as last seen in the butler's registry.

ALTER TABLE campaign ADD COLUMN overlaps_seen_at timestamptz;
ALTER TABLE campaign ADD COLUMN overlaps_basis text DEFAULT '' NOT NULL;

CREATE TABLE visit_overlap (
    campaign_id bigint NOT NULL,
    exposure bigint NOT NULL,
    day_obs integer NOT NULL,
    visits bigint[] DEFAULT '{}' NOT NULL,
    tracts integer[],
    taken boolean NOT NULL,
    CONSTRAINT pk_visit_overlap PRIMARY KEY (campaign_id, exposure),
    CONSTRAINT fk_visit_overlap_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id)
);
COMMENT ON TABLE visit_overlap IS 'An exposure and the tracts that its visits overlap; NULL while it waits for its visit';
