-- What a campaign that nobody watches needs: why it is paused, what is held, and what people are told.

ALTER TABLE campaign ADD COLUMN reason text DEFAULT '' NOT NULL;
ALTER TABLE campaign ADD COLUMN uuid text DEFAULT gen_random_uuid()::text NOT NULL;

ALTER TABLE "group" ADD COLUMN hold text DEFAULT '' NOT NULL;
ALTER TABLE "group" ADD COLUMN accepted_until timestamp with time zone;
ALTER TABLE "group" ADD COLUMN asked jsonb DEFAULT '{}'::jsonb NOT NULL;

CREATE TABLE notice (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    campaign_id bigint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    subject text NOT NULL,
    body text DEFAULT '' NOT NULL,
    created_at timestamp with time zone NOT NULL,
    deliveries jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_notice PRIMARY KEY (id),
    CONSTRAINT fk_notice_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaign (id),
    CONSTRAINT uq_notice_campaign_id_key UNIQUE (campaign_id, key)
);
COMMENT ON TABLE notice IS 'What people are told, once each; by channel, when it got there or why not yet';
