SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.event_is_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Forgetting a whole campaign is the one way out; see merian_campaign/store/forget.py.
    IF TG_OP = 'DELETE' AND current_setting('merian_campaign.forget', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'table event is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.campaign (
    id bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    file text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    overlaps_seen_at timestamp with time zone,
    overlaps_basis text DEFAULT ''::text NOT NULL,
    CONSTRAINT ck_campaign_state CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'cancelled'::text])))
);
COMMENT ON TABLE public.campaign IS 'What a survey lead launched: one campaign file';
ALTER TABLE public.campaign ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.campaign_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.event (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    campaign_id bigint NOT NULL,
    group_id bigint,
    step text,
    group_key text,
    submission_id bigint,
    submission_number integer,
    kind text NOT NULL,
    actor text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    from_state text,
    to_state text
);
COMMENT ON TABLE public.event IS 'Every transition: when, who, from, to, why; append-only (a trigger refuses the rest)';
ALTER TABLE public.event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public."group" (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    step text NOT NULL,
    key text NOT NULL,
    ordinal integer NOT NULL,
    selection_dimension text DEFAULT ''::text NOT NULL,
    selection_values bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    accepted boolean DEFAULT false NOT NULL,
    attempts_from integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    stack_from integer DEFAULT 0 NOT NULL,
    CONSTRAINT ck_group_state CHECK ((state = ANY (ARRAY['waiting'::text, 'ready'::text, 'running'::text, 'done'::text, 'needs_review'::text, 'blocked'::text, 'cancelled'::text])))
);
COMMENT ON TABLE public."group" IS 'One step on one data-ID selection: the unit of work';
ALTER TABLE public."group" ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.group_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.quantum (
    id bigint NOT NULL,
    group_id bigint NOT NULL,
    task text NOT NULL,
    data_id text NOT NULL,
    instrument text,
    visit bigint,
    exposure bigint,
    detector integer,
    tract integer,
    patch integer,
    band text,
    physical_filter text,
    state text NOT NULL,
    caveats text DEFAULT ''::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    charged_attempts integer DEFAULT 0 NOT NULL,
    memory_attempts integer DEFAULT 0 NOT NULL,
    verdict text,
    evidence text DEFAULT ''::text NOT NULL,
    exception_type text,
    exception_message text,
    exit_code integer,
    signal integer,
    peak_mb integer,
    requested_mb integer,
    started timestamp with time zone,
    ended timestamp with time zone,
    host text,
    log_path text,
    state_submission_id bigint NOT NULL,
    submission_id bigint,
    first_try_submission_id bigint,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_quantum_state CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'blocked'::text, 'unknown'::text]))),
    CONSTRAINT ck_quantum_verdict CHECK ((verdict = ANY (ARRAY['out_of_memory'::text, 'walltime'::text, 'node_lost'::text, 'transient'::text, 'algorithm'::text, 'configuration'::text, 'unknown'::text])))
);
COMMENT ON TABLE public.quantum IS 'Current state of each predicted quantum: one task on one data ID of one group';
CREATE TABLE public.quantum_attempt (
    quantum_id bigint NOT NULL,
    submission_id bigint NOT NULL,
    try integer NOT NULL,
    state text NOT NULL,
    verdict text,
    evidence text DEFAULT ''::text NOT NULL,
    exception_type text,
    exception_message text,
    exit_code integer,
    signal integer,
    peak_mb integer,
    requested_mb integer,
    started timestamp with time zone,
    ended timestamp with time zone,
    host text,
    log_path text,
    uuid text,
    charged boolean NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_quantum_attempt_state CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'blocked'::text, 'unknown'::text]))),
    CONSTRAINT ck_quantum_attempt_verdict CHECK ((verdict = ANY (ARRAY['out_of_memory'::text, 'walltime'::text, 'node_lost'::text, 'transient'::text, 'algorithm'::text, 'configuration'::text, 'unknown'::text])))
);
COMMENT ON TABLE public.quantum_attempt IS 'Every attempt that was not a success at first try; never overwritten by a later one';
CREATE TABLE public.quantum_count (
    group_id bigint NOT NULL,
    task text NOT NULL,
    state text NOT NULL,
    n integer NOT NULL,
    CONSTRAINT ck_quantum_count_state CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'blocked'::text, 'unknown'::text])))
);
COMMENT ON TABLE public.quantum_count IS 'Cache: quanta by state, recounted in the transaction that changes them; never the truth';
ALTER TABLE public.quantum ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.quantum_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.submission (
    id bigint NOT NULL,
    group_id bigint NOT NULL,
    number integer NOT NULL,
    state text NOT NULL,
    outcome text,
    repository text DEFAULT ''::text NOT NULL,
    run_collection text DEFAULT ''::text NOT NULL,
    directory text NOT NULL,
    remedy jsonb NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    driver_host text,
    driver_pid integer,
    driver_started bigint,
    epoch integer DEFAULT 0 NOT NULL,
    cancel_requested boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone NOT NULL,
    launched_at timestamp with time zone,
    claimed_at timestamp with time zone,
    lease_expires_at timestamp with time zone,
    finished_at timestamp with time zone,
    driver_job text DEFAULT ''::text NOT NULL,
    needs_person boolean DEFAULT false NOT NULL,
    versions_sha text DEFAULT ''::text NOT NULL,
    versions jsonb,
    CONSTRAINT ck_submission_finished CHECK ((((state = 'finished'::text) = (outcome IS NOT NULL)) AND ((state = 'finished'::text) = (finished_at IS NOT NULL)))),
    CONSTRAINT ck_submission_number CHECK ((number >= 1)),
    CONSTRAINT ck_submission_outcome CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'partial'::text, 'empty'::text, 'failed'::text, 'lost'::text, 'cancelled'::text]))),
    CONSTRAINT ck_submission_state CHECK ((state = ANY (ARRAY['prepared'::text, 'running'::text, 'finished'::text])))
);
COMMENT ON TABLE public.submission IS 'One BPS run (or action) of one group; number 1 is the first, later ones are afterburners';
CREATE VIEW public.quantum_status AS
 SELECT c.name AS campaign,
    g.step,
    g.key AS "group",
    q.instrument,
    q.tract,
    q.patch,
    q.band,
    q.physical_filter,
    q.visit,
    q.exposure,
    q.detector,
    q.task,
    q.data_id,
    q.state,
    q.caveats,
    q.attempts,
    q.verdict,
    q.evidence,
    q.exception_type AS exception,
    q.exception_message,
    q.exit_code,
    q.signal,
    q.peak_mb,
    q.requested_mb,
    q.started,
    q.ended,
    q.host,
    q.log_path,
    s.number AS submission,
    q.updated_at
   FROM (((public.quantum q
     JOIN public."group" g ON ((g.id = q.group_id)))
     JOIN public.campaign c ON ((c.id = g.campaign_id)))
     LEFT JOIN public.submission s ON ((s.id = q.submission_id)));
COMMENT ON VIEW public.quantum_status IS 'Stable: one row a predicted quantum of every campaign, with its current state and its last attempt';
COMMENT ON COLUMN public.quantum_status.campaign IS 'Name of the campaign';
COMMENT ON COLUMN public.quantum_status.step IS 'Step of the campaign';
COMMENT ON COLUMN public.quantum_status."group" IS 'Key of the group within its step';
COMMENT ON COLUMN public.quantum_status.instrument IS 'Of the data ID; NULL when it has none (so for all dimensions)';
COMMENT ON COLUMN public.quantum_status.tract IS 'Of the data ID';
COMMENT ON COLUMN public.quantum_status.patch IS 'Of the data ID';
COMMENT ON COLUMN public.quantum_status.band IS 'Of the data ID, implied ones included';
COMMENT ON COLUMN public.quantum_status.physical_filter IS 'Of the data ID, implied ones included';
COMMENT ON COLUMN public.quantum_status.visit IS 'Of the data ID';
COMMENT ON COLUMN public.quantum_status.exposure IS 'Of the data ID';
COMMENT ON COLUMN public.quantum_status.detector IS 'Of the data ID';
COMMENT ON COLUMN public.quantum_status.task IS 'Task label in the pipeline';
COMMENT ON COLUMN public.quantum_status.data_id IS 'Canonical data ID: required dimensions, name=value, sorted by name';
COMMENT ON COLUMN public.quantum_status.state IS 'pending, running, succeeded, failed, blocked or unknown; unknown is not failed';
COMMENT ON COLUMN public.quantum_status.caveats IS 'Codes of the success caveats of the middleware; empty for none';
COMMENT ON COLUMN public.quantum_status.attempts IS 'Executions in all submissions, first-try successes included';
COMMENT ON COLUMN public.quantum_status.verdict IS 'Why the last attempt failed: out_of_memory, walltime, node_lost, transient, algorithm, configuration or unknown; NULL unless it failed';
COMMENT ON COLUMN public.quantum_status.evidence IS 'What the verdict rests on, in words';
COMMENT ON COLUMN public.quantum_status.exception IS 'Type of the exception of the last attempt';
COMMENT ON COLUMN public.quantum_status.exception_message IS 'Its message, cut to 2000 characters';
COMMENT ON COLUMN public.quantum_status.exit_code IS 'Of the process of the last attempt';
COMMENT ON COLUMN public.quantum_status.signal IS 'That ended the process of the last attempt';
COMMENT ON COLUMN public.quantum_status.peak_mb IS 'Peak memory of the last attempt, MiB';
COMMENT ON COLUMN public.quantum_status.requested_mb IS 'Memory the last attempt asked for, MiB';
COMMENT ON COLUMN public.quantum_status.started IS 'Start of the last attempt';
COMMENT ON COLUMN public.quantum_status.ended IS 'End of the last attempt';
COMMENT ON COLUMN public.quantum_status.host IS 'Where the last attempt ran';
COMMENT ON COLUMN public.quantum_status.log_path IS 'Log of the last attempt';
COMMENT ON COLUMN public.quantum_status.submission IS 'Number of the submission of the last attempt; 1 is the first, later ones are afterburners';
COMMENT ON COLUMN public.quantum_status.updated_at IS 'When this row last changed';
CREATE TABLE public.revision (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    number integer NOT NULL,
    text text NOT NULL,
    sha256 text NOT NULL,
    spec jsonb NOT NULL,
    actor text NOT NULL,
    applied_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE public.revision IS 'A campaign file as applied, and what it resolved to; the highest number is in force';
ALTER TABLE public.revision ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.revision_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.slurm_job (
    id bigint NOT NULL,
    submission_id bigint NOT NULL,
    role text NOT NULL,
    job_id text NOT NULL,
    name text NOT NULL,
    slurm_state text NOT NULL,
    fate text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    cancelled_by text DEFAULT ''::text NOT NULL,
    exit_code integer,
    signal integer,
    nodes text DEFAULT ''::text NOT NULL,
    submitted timestamp with time zone,
    started timestamp with time zone,
    ended timestamp with time zone,
    restarts integer DEFAULT 0 NOT NULL,
    busy_seconds double precision,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_slurm_job_fate CHECK ((fate = ANY (ARRAY['alive'::text, 'completed'::text, 'out_of_memory'::text, 'walltime'::text, 'node_lost'::text, 'preempted'::text, 'cancelled'::text, 'failed'::text, 'unknown'::text]))),
    CONSTRAINT ck_slurm_job_role CHECK ((role = ANY (ARRAY['driver'::text, 'block'::text])))
);
COMMENT ON TABLE public.slurm_job IS 'A Slurm job of a submission, driver or block, as last seen; times are UTC';
ALTER TABLE public.slurm_job ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.slurm_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE public.submission ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.submission_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tick (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    actions integer,
    error text
);
COMMENT ON TABLE public.tick IS 'One pass of the reconciler';
ALTER TABLE public.tick ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.tick_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.visit_overlap (
    campaign_id bigint NOT NULL,
    exposure bigint NOT NULL,
    day_obs integer NOT NULL,
    visits bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    tracts integer[],
    taken boolean NOT NULL
);
COMMENT ON TABLE public.visit_overlap IS 'An exposure and the tracts that its visits overlap; NULL while it waits for its visit';
INSERT INTO public.alembic_version VALUES
	('0004');
INSERT INTO public.campaign OVERRIDING SYSTEM VALUE VALUES
	(2, 'early', 'paused', '@ROOT@/early.yaml', '2026-11-25 22:27:45.620834+00', '2026-11-25 22:31:03.900858+00', NULL, '');
INSERT INTO public.event OVERRIDING SYSTEM VALUE VALUES
	(191, '2026-11-25 22:27:45.620834+00', 2, NULL, NULL, NULL, NULL, NULL, 'applied', 'lead@login1', 'revision 1: 5 groups created, 0 dropped', NULL, NULL),
	(194, '2026-11-25 22:28:10.312746+00', 2, 32, 'defaults', 'all', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'waiting', 'ready'),
	(195, '2026-11-25 22:28:10.406785+00', 2, 32, 'defaults', 'all', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'ready', 'running'),
	(196, '2026-11-25 22:28:10.406785+00', 2, 32, 'defaults', 'all', 32, 1, 'submission', 'lead@login1', 'all it needs is done', NULL, 'prepared'),
	(197, '2026-11-25 22:28:15.076569+00', 2, 32, 'defaults', 'all', 32, 1, 'submission', 'driver', 'claimed by process 20526 on login1', 'prepared', 'running'),
	(198, '2026-11-25 22:28:43.943758+00', 2, 32, 'defaults', 'all', 32, 1, 'submission', 'lead@login1', 'succeeded: butler collection-chain @ROOT@/survey/repo DECam/defaults/early DECam/defaults/demo  # 1 children', 'running', 'finished'),
	(199, '2026-11-25 22:28:44.107186+00', 2, 32, 'defaults', 'all', NULL, NULL, 'group', 'lead@login1', 'butler collection-chain @ROOT@/survey/repo DECam/defaults/early DECam/defaults/demo  # 1 children', 'running', 'done'),
	(200, '2026-11-25 22:28:44.161746+00', 2, 33, 'step1', 'night20210318', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'waiting', 'ready'),
	(201, '2026-11-25 22:28:44.192547+00', 2, 34, 'step1', 'night20210319', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'waiting', 'ready'),
	(202, '2026-11-25 22:28:44.273959+00', 2, 33, 'step1', 'night20210318', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'ready', 'running'),
	(203, '2026-11-25 22:28:44.273959+00', 2, 33, 'step1', 'night20210318', 33, 1, 'submission', 'lead@login1', 'all it needs is done', NULL, 'prepared'),
	(204, '2026-11-25 22:28:47.619962+00', 2, 33, 'step1', 'night20210318', 33, 1, 'submission', 'driver', 'claimed by process 20975 on login1', 'prepared', 'running'),
	(205, '2026-11-25 22:30:17.746671+00', 2, 33, 'step1', 'night20210318', 33, 1, 'submission', 'lead@login1', 'partial: 1 blocked, 1 failed, 14 succeeded', 'running', 'finished'),
	(206, '2026-11-25 22:30:17.82453+00', 2, 33, 'step1', 'night20210318', NULL, NULL, 'group', 'lead@login1', 'calibrate: algorithm x1; 1 blocked behind them', 'running', 'needs_review'),
	(207, '2026-11-25 22:30:17.838544+00', 2, 34, 'step1', 'night20210319', NULL, NULL, 'group', 'lead@login1', 'all it needs is done', 'ready', 'running'),
	(208, '2026-11-25 22:30:17.838544+00', 2, 34, 'step1', 'night20210319', 34, 1, 'submission', 'lead@login1', 'all it needs is done', NULL, 'prepared'),
	(209, '2026-11-25 22:30:17.893079+00', 2, 35, 'step2a', 'night20210318', NULL, NULL, 'group', 'lead@login1', 'needs step1/night20210318 (needs_review)', 'waiting', 'blocked'),
	(210, '2026-11-25 22:30:21.329626+00', 2, 34, 'step1', 'night20210319', 34, 1, 'submission', 'driver', 'claimed by process 22823 on login1', 'prepared', 'running'),
	(211, '2026-11-25 22:31:03.900858+00', 2, NULL, NULL, NULL, NULL, NULL, 'pause', 'lead@login1', '', 'active', 'paused');
INSERT INTO public."group" OVERRIDING SYSTEM VALUE VALUES
	(32, 2, 'defaults', 'all', 0, '', '{}', 'done', 'butler collection-chain @ROOT@/survey/repo DECam/defaults/early DECam/defaults/demo  # 1 children', false, 0, '2026-11-25 22:27:45.620834+00', '2026-11-25 22:28:44.107186+00', 0),
	(36, 2, 'step2a', 'night20210319', 2, 'day_obs', '{20210319}', 'waiting', '', false, 0, '2026-11-25 22:27:45.620834+00', '2026-11-25 22:27:45.620834+00', 0),
	(33, 2, 'step1', 'night20210318', 1, 'day_obs', '{20210318}', 'needs_review', 'calibrate: algorithm x1; 1 blocked behind them', false, 0, '2026-11-25 22:27:45.620834+00', '2026-11-25 22:30:17.82453+00', 0),
	(35, 2, 'step2a', 'night20210318', 2, 'day_obs', '{20210318}', 'blocked', 'needs step1/night20210318 (needs_review)', false, 0, '2026-11-25 22:27:45.620834+00', '2026-11-25 22:30:17.893079+00', 0),
	(34, 2, 'step1', 'night20210319', 1, 'day_obs', '{20210319}', 'running', 'all it needs is done', false, 0, '2026-11-25 22:27:45.620834+00', '2026-11-25 22:30:17.838544+00', 0);
INSERT INTO public.quantum OVERRIDING SYSTEM VALUE VALUES
	(1951, 33, 'isr', 'detector=2,exposure=970613,instrument=DECam', 'DECam', NULL, 970613, 2, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 164, 2048, '2026-11-25 22:29:21.25955+00', '2026-11-25 22:29:21.383385+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/isr/970613/01a214d3-c98d-75fe-8a2e-7d8bf4bc0938_isr_970613_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1952, 33, 'isr', 'detector=1,exposure=970612,instrument=DECam', 'DECam', NULL, 970612, 1, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 164, 2048, '2026-11-25 22:29:21.306726+00', '2026-11-25 22:29:21.433807+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/isr/970612/01a214d3-c98e-7ca7-a78f-6b8e0c325980_isr_970612_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1953, 33, 'isr', 'detector=2,exposure=970612,instrument=DECam', 'DECam', NULL, 970612, 2, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 164, 2048, '2026-11-25 22:29:21.656837+00', '2026-11-25 22:29:21.744007+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/isr/970612/01a214d3-c98e-779f-bbb5-49b078e8cfef_isr_970612_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1954, 33, 'isr', 'detector=1,exposure=970613,instrument=DECam', 'DECam', NULL, 970613, 1, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 164, 2048, '2026-11-25 22:29:21.744343+00', '2026-11-25 22:29:21.843873+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/isr/970613/01a214d3-c98e-775d-9f84-81b6c6167d99_isr_970613_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1955, 33, 'characterizeImage', 'detector=1,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 1, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 186, 2048, '2026-11-25 22:29:22.582025+00', '2026-11-25 22:29:22.759889+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/characterizeImage/970613/01a214d3-c98f-72e4-8ad3-a83ccb624b3d_characterizeImage_970613_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1956, 33, 'characterizeImage', 'detector=2,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 2, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 186, 2048, '2026-11-25 22:29:21.993603+00', '2026-11-25 22:29:22.221701+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/characterizeImage/970613/01a214d3-c98f-7ce7-af14-0f11c1b1867c_characterizeImage_970613_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1957, 33, 'characterizeImage', 'detector=1,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 1, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 186, 2048, '2026-11-25 22:29:22.115273+00', '2026-11-25 22:29:22.322382+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/characterizeImage/970612/01a214d3-c98f-71ea-afb1-f45e4f674357_characterizeImage_970612_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1958, 33, 'characterizeImage', 'detector=2,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 2, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 186, 2048, '2026-11-25 22:29:22.458996+00', '2026-11-25 22:29:22.643881+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/characterizeImage/970612/01a214d3-c98f-786f-94d9-d8f6f84fa12f_characterizeImage_970612_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1959, 33, 'calibrate', 'detector=2,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 2, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 194, 2048, '2026-11-25 22:29:23.538858+00', '2026-11-25 22:29:23.848504+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/calibrate/970612/01a214d3-c990-7327-8dad-867f2b2d628d_calibrate_970612_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1960, 33, 'calibrate', 'detector=1,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 1, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 195, 2048, '2026-11-25 22:29:23.580872+00', '2026-11-25 22:29:23.886597+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/calibrate/970613/01a214d3-c99d-7a32-9c3b-c80933e816ea_calibrate_970613_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1961, 33, 'calibrate', 'detector=2,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 2, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 195, 2048, '2026-11-25 22:29:22.931327+00', '2026-11-25 22:29:23.330121+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/calibrate/970613/01a214d3-c99d-7ee8-b3d1-703cdfd15fdb_calibrate_970613_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1962, 33, 'calibrate', 'detector=1,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 1, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'failed', '', 1, 1, 0, 'algorithm', 'InjectedAlgorithmError: the task says that a retry cannot help', 'merian_campaign.demo.faults.InjectedAlgorithmError', 'Only 0 usable sources for calibrate: the fit cannot converge.', 1, NULL, 172, 2048, '2026-11-25 22:29:23.028698+00', '2026-11-25 22:29:23.126768+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/calibrate/970612/01a214d3-c99d-75dd-bfa7-ec4f986b68c9_calibrate_970612_1.stderr', 33, 33, NULL, '2026-11-25 22:30:17.746671+00'),
	(1963, 33, 'transformPreSourceTable', 'detector=2,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 2, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 193, 2048, '2026-11-25 22:29:24.16657+00', '2026-11-25 22:29:24.406451+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/transformPreSourceTable/970612/01a214d3-c99e-7417-ba21-0504d6115926_transformPreSourceTable_970612_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1964, 33, 'transformPreSourceTable', 'detector=1,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 1, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 193, 2048, '2026-11-25 22:29:24.670494+00', '2026-11-25 22:29:24.895774+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/transformPreSourceTable/970613/01a214d3-c99e-7d78-ad05-cb2b040f09e3_transformPreSourceTable_970613_1.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1965, 33, 'transformPreSourceTable', 'detector=2,instrument=DECam,visit=970613', 'DECam', 970613, NULL, 2, NULL, NULL, 'N540', 'N540 DECam c0014 5403.2 210.0', 'succeeded', '', 1, 1, 0, NULL, '', NULL, NULL, 0, NULL, 193, 2048, '2026-11-25 22:29:24.137433+00', '2026-11-25 22:29:24.430769+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/transformPreSourceTable/970613/01a214d3-c99e-71fa-bc8c-d7d263e7b7de_transformPreSourceTable_970613_2.stderr', 33, 33, 33, '2026-11-25 22:30:17.746671+00'),
	(1966, 33, 'transformPreSourceTable', 'detector=1,instrument=DECam,visit=970612', 'DECam', 970612, NULL, 1, NULL, NULL, 'N708', 'N708 DECam c0012 7080.0 400.0', 'blocked', '', 0, 0, 0, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 33, NULL, NULL, '2026-11-25 22:30:17.746671+00');
INSERT INTO public.quantum_attempt VALUES
	(1962, 33, 1, 'failed', 'algorithm', 'InjectedAlgorithmError: the task says that a retry cannot help', 'merian_campaign.demo.faults.InjectedAlgorithmError', 'Only 0 usable sources for calibrate: the fit cannot converge.', 1, NULL, 172, 2048, '2026-11-25 22:29:23.028698+00', '2026-11-25 22:29:23.126768+00', 'login1', '@ROOT@/submissions/early/step1/night20210318/001/bps/logs/calibrate/970612/01a214d3-c99d-75dd-bfa7-ec4f986b68c9_calibrate_970612_1.stderr', '01a214d3-c99d-75dd-bfa7-ec4f986b68c9', true, '2026-11-25 22:30:17.746671+00');
INSERT INTO public.quantum_count VALUES
	(33, 'calibrate', 'failed', 1),
	(33, 'calibrate', 'succeeded', 3),
	(33, 'characterizeImage', 'succeeded', 4),
	(33, 'isr', 'succeeded', 4),
	(33, 'transformPreSourceTable', 'blocked', 1),
	(33, 'transformPreSourceTable', 'succeeded', 3);
INSERT INTO public.revision OVERRIDING SYSTEM VALUE VALUES
	(2, 2, 1, 'campaign: early
description: Two nights of one detector, by the first release.
variables:
  ROOT: @ROOT@/survey
butler: ${ROOT}/repo
work_dir: @ROOT@/submissions
instrument: DECam
skymap: decam_rings_v1
site: @ROOT@/site/local.yaml
memory_guard: address_space
include: [@CHECKOUT@/bps_configs/base.yaml]
failure_rules: @CHECKOUT@/campaign/failure-rules.yaml
limits: {submissions: 1}
afterburner: {max_attempts: 3, memory_multiplier: 2, memory_max: 8192}
collections:
  output: DECam/runs/early
  inputs: [DECam/defaults/demo]
tracts: ["9813-9814"]
environment:
  DAF_BUTLER_PLUGINS: @CHECKOUT@/merian_campaign/demo/resources.yaml
steps:
  - name: defaults
    action: collection-chain
    arguments: {parent: DECam/defaults/early, children: [DECam/defaults/demo]}
  - name: step1
    after: [defaults]
    pipeline: @CHECKOUT@/merian_campaign/demo/pipelines/DRP-Merian.yaml#step1
    where: exposure.observation_type = ''science'' AND detector IN (1, 2)
    group_by: {kind: day_obs, nights: ["20210318-20210319"]}
    inputs: [DECam/defaults/demo]
    config:
      - calibrate:faultKind=algorithm
      - calibrate:faultDataId=visit:970612,detector:1
    if_empty: needs_review
  - name: step2a
    after: [step1]
    pipeline: @CHECKOUT@/merian_campaign/demo/pipelines/DRP-Merian.yaml#step2a
    group_by: {kind: day_obs, nights: ["20210318-20210319"]}
    inputs: [step1, DECam/defaults/demo]
', '9b8c1c46373139afe1e97eb2ecc8c7b1edcd3050d1f758e175b4890de7b6ed7e', '{"site": "@ROOT@/site/local.yaml", "steps": [{"name": "defaults", "action": "collection-chain", "arguments": {"parent": "DECam/defaults/early", "children": ["DECam/defaults/demo"]}}, {"name": "step1", "after": ["defaults"], "where": "exposure.observation_type = ''science'' AND detector IN (1, 2)", "config": ["calibrate:faultKind=algorithm", "calibrate:faultDataId=visit:970612,detector:1"], "inputs": ["DECam/defaults/demo"], "group_by": {"kind": "day_obs", "nights": ["20210318-20210319"]}, "if_empty": "needs_review", "pipeline": "@CHECKOUT@/merian_campaign/demo/pipelines/DRP-Merian.yaml#step1"}, {"name": "step2a", "after": ["step1"], "inputs": ["step1", "DECam/defaults/demo"], "group_by": {"kind": "day_obs", "nights": ["20210318-20210319"]}, "pipeline": "@CHECKOUT@/merian_campaign/demo/pipelines/DRP-Merian.yaml#step2a"}], "butler": "@ROOT@/survey/repo", "limits": {"submissions": 1}, "skymap": "decam_rings_v1", "tracts": ["9813-9814"], "include": ["@CHECKOUT@/bps_configs/base.yaml"], "campaign": "early", "work_dir": "@ROOT@/submissions", "variables": {"ROOT": "@ROOT@/survey"}, "instrument": "DECam", "afterburner": {"memory_max": 8192, "max_attempts": 3, "memory_multiplier": 2}, "collections": {"inputs": ["DECam/defaults/demo"], "output": "DECam/runs/early"}, "description": "Two nights of one detector, by the first release.", "environment": {"DAF_BUTLER_PLUGINS": "@CHECKOUT@/merian_campaign/demo/resources.yaml"}, "memory_guard": "address_space", "failure_rules": "@CHECKOUT@/campaign/failure-rules.yaml"}', 'lead@login1', '2026-11-25 22:27:45.620834+00');
INSERT INTO public.submission OVERRIDING SYSTEM VALUE VALUES
	(32, 32, 1, 'finished', 'succeeded', '@ROOT@/survey/repo', '', '@ROOT@/submissions/early/defaults/all/001', '{"blocks": null, "workers": null, "memory_mb": {}}', 'butler collection-chain @ROOT@/survey/repo DECam/defaults/early DECam/defaults/demo  # 1 children', 'login1', 20526, 1474165, 1, false, '2026-11-25 22:28:10.406785+00', NULL, '2026-11-25 22:28:15.076569+00', NULL, '2026-11-25 22:28:43.943758+00', '', false, '3f8bcbe6f6b37df8', '{"sha": "3f8bcbe6f6b37df8", "tag": "", "short": "lsst_pipe_base 30.2026.4300, python 3.12.1 (3f8bcbe6)", "stack": {"lsst_utils": "30.2026.4300", "lsst_sphgeom": "30.2026.4000", "lsst_ctrl_bps": "30.2026.4300", "lsst_pipe_base": "30.2026.4300", "lsst_resources": "30.2026.4200", "lsst_daf_butler": "30.2026.4300", "lsst_pex_config": "30.2026.4300", "lsst_ctrl_mpexec": "30.2026.4300", "lsst_ctrl_bps_parsl": "30.2026.4300"}, "others": {"numpy": "2.5.5", "parsl": "2026.10.26", "pyerfa": "2.0.1.5", "astropy": "8.0.2", "pyarrow": "26.0.1", "pydantic": "2.14.3", "sqlalchemy": "2.1.9"}, "python": "3.12.1", "manager": "0.1.0", "version": 1, "environment": "/opt/stack/.venv"}'),
	(33, 33, 1, 'finished', 'partial', '@ROOT@/survey/repo', 'DECam/runs/early/step1/night20210318/001', '@ROOT@/submissions/early/step1/night20210318/001', '{"blocks": null, "workers": null, "memory_mb": {}}', '1 blocked, 1 failed, 14 succeeded', 'login1', 20975, 1477554, 1, false, '2026-11-25 22:28:44.273959+00', NULL, '2026-11-25 22:28:47.619962+00', NULL, '2026-11-25 22:30:17.746671+00', '', false, '3f8bcbe6f6b37df8', '{"sha": "3f8bcbe6f6b37df8", "tag": "", "short": "lsst_pipe_base 30.2026.4300, python 3.12.1 (3f8bcbe6)", "stack": {"lsst_utils": "30.2026.4300", "lsst_sphgeom": "30.2026.4000", "lsst_ctrl_bps": "30.2026.4300", "lsst_pipe_base": "30.2026.4300", "lsst_resources": "30.2026.4200", "lsst_daf_butler": "30.2026.4300", "lsst_pex_config": "30.2026.4300", "lsst_ctrl_mpexec": "30.2026.4300", "lsst_ctrl_bps_parsl": "30.2026.4300"}, "others": {"numpy": "2.5.5", "parsl": "2026.10.26", "pyerfa": "2.0.1.5", "astropy": "8.0.2", "pyarrow": "26.0.1", "pydantic": "2.14.3", "sqlalchemy": "2.1.9"}, "python": "3.12.1", "manager": "0.1.0", "version": 1, "environment": "/opt/stack/.venv"}'),
	(34, 34, 1, 'running', NULL, '@ROOT@/survey/repo', 'DECam/runs/early/step1/night20210319/001', '@ROOT@/submissions/early/step1/night20210319/001', '{"blocks": null, "workers": null, "memory_mb": {}}', 'all it needs is done', 'login1', 22823, 1486901, 1, false, '2026-11-25 22:30:17.838544+00', NULL, '2026-11-25 22:30:21.329626+00', '2026-11-25 22:33:56.520989+00', NULL, '', false, '3f8bcbe6f6b37df8', '{"sha": "3f8bcbe6f6b37df8", "tag": "", "short": "lsst_pipe_base 30.2026.4300, python 3.12.1 (3f8bcbe6)", "stack": {"lsst_utils": "30.2026.4300", "lsst_sphgeom": "30.2026.4000", "lsst_ctrl_bps": "30.2026.4300", "lsst_pipe_base": "30.2026.4300", "lsst_resources": "30.2026.4200", "lsst_daf_butler": "30.2026.4300", "lsst_pex_config": "30.2026.4300", "lsst_ctrl_mpexec": "30.2026.4300", "lsst_ctrl_bps_parsl": "30.2026.4300"}, "others": {"numpy": "2.5.5", "parsl": "2026.10.26", "pyerfa": "2.0.1.5", "astropy": "8.0.2", "pyarrow": "26.0.1", "pydantic": "2.14.3", "sqlalchemy": "2.1.9"}, "python": "3.12.1", "manager": "0.1.0", "version": 1, "environment": "/opt/stack/.venv"}');
INSERT INTO public.tick OVERRIDING SYSTEM VALUE VALUES
	(666, 2, 'login1', 20367, '2026-11-25 22:28:10.266384+00', '2026-11-25 22:28:10.625633+00', 2, NULL),
	(667, 2, 'login1', 20821, '2026-11-25 22:28:43.915165+00', '2026-11-25 22:28:44.461043+00', 5, NULL),
	(668, 2, 'login1', 21090, '2026-11-25 22:28:58.573877+00', '2026-11-25 22:28:58.605499+00', 0, NULL),
	(669, 2, 'login1', 21495, '2026-11-25 22:29:15.801409+00', '2026-11-25 22:29:15.901702+00', 0, NULL),
	(670, 2, 'login1', 22773, '2026-11-25 22:30:17.735631+00', '2026-11-25 22:30:17.918967+00', 4, NULL);
SELECT pg_catalog.setval('public.campaign_id_seq', 2, true);
SELECT pg_catalog.setval('public.event_id_seq', 211, true);
SELECT pg_catalog.setval('public.group_id_seq', 36, true);
SELECT pg_catalog.setval('public.quantum_id_seq', 1966, true);
SELECT pg_catalog.setval('public.revision_id_seq', 2, true);
SELECT pg_catalog.setval('public.slurm_job_id_seq', 1, false);
SELECT pg_catalog.setval('public.submission_id_seq', 34, true);
SELECT pg_catalog.setval('public.tick_id_seq', 671, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT pk_campaign PRIMARY KEY (id);
ALTER TABLE ONLY public.event
    ADD CONSTRAINT pk_event PRIMARY KEY (id);
ALTER TABLE ONLY public."group"
    ADD CONSTRAINT pk_group PRIMARY KEY (id);
ALTER TABLE ONLY public.quantum
    ADD CONSTRAINT pk_quantum PRIMARY KEY (id);
ALTER TABLE ONLY public.quantum_attempt
    ADD CONSTRAINT pk_quantum_attempt PRIMARY KEY (quantum_id, submission_id, try);
ALTER TABLE ONLY public.quantum_count
    ADD CONSTRAINT pk_quantum_count PRIMARY KEY (group_id, task, state);
ALTER TABLE ONLY public.revision
    ADD CONSTRAINT pk_revision PRIMARY KEY (id);
ALTER TABLE ONLY public.slurm_job
    ADD CONSTRAINT pk_slurm_job PRIMARY KEY (id);
ALTER TABLE ONLY public.submission
    ADD CONSTRAINT pk_submission PRIMARY KEY (id);
ALTER TABLE ONLY public.tick
    ADD CONSTRAINT pk_tick PRIMARY KEY (id);
ALTER TABLE ONLY public.visit_overlap
    ADD CONSTRAINT pk_visit_overlap PRIMARY KEY (campaign_id, exposure);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT uq_campaign_name UNIQUE (name);
ALTER TABLE ONLY public."group"
    ADD CONSTRAINT uq_group_campaign_id_step_key UNIQUE (campaign_id, step, key);
ALTER TABLE ONLY public.quantum
    ADD CONSTRAINT uq_quantum_group_id_task_data_id UNIQUE (group_id, task, data_id);
ALTER TABLE ONLY public.revision
    ADD CONSTRAINT uq_revision_campaign_id_number UNIQUE (campaign_id, number);
ALTER TABLE ONLY public.slurm_job
    ADD CONSTRAINT uq_slurm_job_submission_id_job_id UNIQUE (submission_id, job_id);
ALTER TABLE ONLY public.submission
    ADD CONSTRAINT uq_submission_group_id_number UNIQUE (group_id, number);
CREATE INDEX ix_event_campaign_id_id ON public.event USING btree (campaign_id, id);
CREATE INDEX ix_quantum_attempt_submission_id ON public.quantum_attempt USING btree (submission_id);
CREATE INDEX ix_quantum_open ON public.quantum USING btree (group_id, task, state) WHERE (state <> 'succeeded'::text);
CREATE INDEX ix_slurm_job_alive ON public.slurm_job USING btree (submission_id) WHERE (fate = 'alive'::text);
CREATE INDEX ix_tick_campaign_id ON public.tick USING btree (campaign_id);
CREATE UNIQUE INDEX uq_submission_run_collection ON public.submission USING btree (repository, run_collection) WHERE (run_collection <> ''::text);
CREATE UNIQUE INDEX uq_submission_unfinished ON public.submission USING btree (group_id) WHERE (state <> 'finished'::text);
CREATE TRIGGER event_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.event FOR EACH STATEMENT EXECUTE FUNCTION public.event_is_append_only();
ALTER TABLE ONLY public.event
    ADD CONSTRAINT fk_event_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public."group"
    ADD CONSTRAINT fk_group_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public.quantum_attempt
    ADD CONSTRAINT fk_quantum_attempt_quantum_id FOREIGN KEY (quantum_id) REFERENCES public.quantum(id);
ALTER TABLE ONLY public.quantum_attempt
    ADD CONSTRAINT fk_quantum_attempt_submission_id FOREIGN KEY (submission_id) REFERENCES public.submission(id);
ALTER TABLE ONLY public.quantum_count
    ADD CONSTRAINT fk_quantum_count_group_id FOREIGN KEY (group_id) REFERENCES public."group"(id);
ALTER TABLE ONLY public.quantum
    ADD CONSTRAINT fk_quantum_group_id FOREIGN KEY (group_id) REFERENCES public."group"(id);
ALTER TABLE ONLY public.revision
    ADD CONSTRAINT fk_revision_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public.slurm_job
    ADD CONSTRAINT fk_slurm_job_submission_id FOREIGN KEY (submission_id) REFERENCES public.submission(id);
ALTER TABLE ONLY public.submission
    ADD CONSTRAINT fk_submission_group_id FOREIGN KEY (group_id) REFERENCES public."group"(id);
ALTER TABLE ONLY public.tick
    ADD CONSTRAINT fk_tick_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public.visit_overlap
    ADD CONSTRAINT fk_visit_overlap_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
