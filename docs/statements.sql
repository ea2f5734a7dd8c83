-- Every statement of the server, as `make sql` renders it from server/thumbq_server/storage.
-- psql accepts this file: each block prepares one statement, which EXECUTE then runs.

-- audit_begin: $1 who, $2 address, $3 action, $4 outcome, $5 detail, $6 reference
PREPARE audit_begin (text, text, text, text, text, text) AS
INSERT INTO audit (who, address, action, outcome, detail, reference) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id;

-- audit_end: $1 id, $2 outcome, $3 detail, $4 reference
PREPARE audit_end (bigint, text, text, text) AS
UPDATE audit SET outcome = $2, detail = $3, reference = $4 WHERE id = $1;

-- audit_write: $1 whos, $2 addresses, $3 actions, $4 outcomes, $5 details, $6 refs
PREPARE audit_write (text[], text[], text[], text[], text[], text[]) AS
INSERT INTO audit (who, address, action, outcome, detail, reference)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]);

-- audit_list: $1 below, $2 who, $3 action, $4 outcome, $5 limit
PREPARE audit_list (bigint, text, text, text, bigint) AS
SELECT id, at, who, address, action, outcome, detail, reference FROM audit
 WHERE id < $1 AND ($2 = '' OR who = $2) AND ($3 = '' OR action = $3) AND ($4 = '' OR outcome = $4)
 ORDER BY id DESC LIMIT $5;

-- audit_prune: $1 keep_seconds, $2 limit
PREPARE audit_prune (double precision, bigint) AS
WITH pruned AS (
    DELETE FROM audit WHERE id = ANY (ARRAY (
        SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) AS oldest
         WHERE at < now() - make_interval(secs => $1)))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- key_create: $1 prefix, $2 digest, $3 role, $4 name, $5 life
PREPARE key_create (text, bytea, text, text, interval) AS
INSERT INTO keys (prefix, digest, role, name, expires_at) VALUES ($1, $2, $3, $4, now() + $5)
RETURNING prefix, digest, role, name, created_at, expires_at, last_used_at, revoked_at, extract(epoch FROM expires_at - now())::float8 AS seconds_left;

-- keys_list
PREPARE keys_list AS
SELECT prefix, digest, role, name, created_at, expires_at, last_used_at, revoked_at, extract(epoch FROM expires_at - now())::float8 AS seconds_left FROM keys ORDER BY created_at, prefix;

-- key_revoke: $1 prefix
PREPARE key_revoke (text) AS
UPDATE keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = $1
RETURNING prefix, digest, role, name, created_at, expires_at, last_used_at, revoked_at, extract(epoch FROM expires_at - now())::float8 AS seconds_left;

-- keys_note_used: $1 prefixes, $2 seconds_ago
PREPARE keys_note_used (text[], double precision[]) AS
UPDATE keys SET last_used_at = now() - u.seconds_ago * interval '1 second'
  FROM unnest($1::text[], $2::float8[]) AS u (prefix, seconds_ago)
 WHERE keys.prefix = ANY (ARRAY (
        SELECT k.prefix FROM keys k WHERE k.prefix = ANY ($1) ORDER BY k.prefix FOR UPDATE))
   AND keys.prefix = u.prefix
   AND (last_used_at IS NULL OR last_used_at < now() - u.seconds_ago * interval '1 second');

-- signing_keys_list: $1 key_life
PREPARE signing_keys_list (interval) AS
SELECT id, seed, created_at, created_at < now() - $1::interval AS is_worn
  FROM signing_keys ORDER BY created_at DESC, id;

-- signing_key_create: $1 id, $2 seed
PREPARE signing_key_create (text, bytea) AS
INSERT INTO signing_keys (id, seed) VALUES ($1, $2);

-- signing_keys_prune: $1 retention
PREPARE signing_keys_prune (interval) AS
WITH pruned AS (
    DELETE FROM signing_keys WHERE id = ANY (ARRAY (
        SELECT id FROM signing_keys WHERE created_at < now() - $1::interval ORDER BY id FOR UPDATE))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- job_events_log: $1 job_ids, $2 event_types, $3 messages, $4 metadata, $5 error_messages, $6 lease_seconds, $7 longest_seconds, $8 most_kept, $9 with_key
PREPARE job_events_log (bigint[], text[], text[], text[], text[], double precision, double precision, bigint, boolean) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
           WITH ORDINALITY AS i (job_id, event_type, message, metadata, error_message, place)
), lines AS (
    SELECT i.*, nextval('job_event_seq') AS id FROM input i
     WHERE EXISTS (SELECT FROM jobs j WHERE j.id = i.job_id)
     ORDER BY place
), told AS (
    SELECT w.id AS session, min(l.claimed_at) AS claimed_at, believed,
           CASE WHEN believed THEN $7::float8 ELSE $6 END * interval '1 second' AS longest
      FROM leases l JOIN workers w ON w.id = l.session AND w.session_id = ''
     -- a worker that asked for jobs of late has shown a key there, and lives
     CROSS JOIN LATERAL (SELECT $9 OR w.last_seen_at > now() - $6::float8 * interval '1 second' AS believed) b
     WHERE l.job_id = ANY ($1)
     GROUP BY w.id, believed
), extended AS (
    UPDATE leases l
       SET expires_at = greatest(l.expires_at, least(now() + $6 * interval '1 second', l.claimed_at + told.longest))
      FROM told
     WHERE told.session = l.session AND l.job_id = ANY (ARRAY (
        SELECT h.job_id FROM leases h JOIN told t ON h.session = t.session AND h.claimed_at >= t.claimed_at
         -- the twelve lines of a quick job extend it once
         WHERE h.expires_at < now() + 0.9 * $6 * interval '1 second'
           AND h.expires_at < h.claimed_at + t.longest
           AND (t.believed OR h.job_id = ANY ($1))
         ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h))
), forgotten AS (
    DELETE FROM job_events WHERE id = ANY (ARRAY (
        SELECT old.id FROM (SELECT DISTINCT job_id FROM lines) n CROSS JOIN LATERAL (
            SELECT e.id FROM job_events e WHERE e.job_id = n.job_id AND e.with_key = $9
             ORDER BY e.id DESC OFFSET $8) old))
), written AS (
    INSERT INTO job_events (id, job_id, event_type, message, metadata, error_message, with_key)
    SELECT id, job_id, event_type, message, metadata, error_message, $9 FROM lines
)
SELECT place, id, set_config('synchronous_commit', 'off', true) FROM lines;

-- job_events_list: $1 job_id, $2 most
PREPARE job_events_list (bigint, bigint) AS
SELECT newest.* FROM (VALUES (true), (false)) AS kinds (with_key) CROSS JOIN LATERAL (
    SELECT id, created_at, event_type, message, metadata, error_message
      FROM job_events e WHERE e.job_id = $1 AND e.with_key = kinds.with_key
     ORDER BY id DESC LIMIT $2) AS newest
 ORDER BY id;

-- leases_keep: $1 worker_ids, $2 connected_seconds, $3 lease_seconds, $4 longest_seconds
PREPARE leases_keep (text[], double precision[], double precision, double precision) AS
UPDATE leases l
   SET expires_at = greatest(l.expires_at, least(now() + $3 * interval '1 second',
                                                 l.claimed_at + $4 * interval '1 second'))
 WHERE l.job_id = ANY (ARRAY (
    SELECT h.job_id FROM unnest($1::text[], $2::float8[]) AS i (worker_id, connected_seconds)
      JOIN workers w ON w.worker_id = i.worker_id AND w.session_id = ''
      JOIN leases h ON h.session = w.id AND h.claimed_at >= now() - i.connected_seconds * interval '1 second'
     ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h));

-- tables_find_swollen: $1 last_claim
PREPARE tables_find_swollen (bigint) AS
SELECT coalesce(pg_sequence_last_value('claim_seq'), 0) AS last_claim,
       coalesce(array_agg(name), '{}') AS swollen,
       coalesce(array_agg(name) FILTER (WHERE quickly_rebuilt), '{}') AS quickly_rebuilt
  FROM (
    SELECT c.relname::text AS name,
           c.relpages - c.relallvisible <= 128 AND pg_relation_size(c.oid) <= 67108864 AS quickly_rebuilt
      FROM pg_class c JOIN pg_database d ON d.datname = current_database()
     WHERE c.oid = 'ready'::regclass AND (
    pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
    OR CASE WHEN current_setting('server_version_num')::int >= 170000
            THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)
       AND CASE WHEN coalesce(pg_sequence_last_value('claim_seq'), 0) = $1 AND pg_indexes_size(c.oid) > 1048576
                THEN (SELECT count(*) FROM (SELECT FROM ready LIMIT 1000) few) < 1000 ELSE false END
    UNION ALL
    SELECT c.relname::text AS name,
           c.relpages - c.relallvisible <= 128 AND pg_relation_size(c.oid) <= 67108864 AS quickly_rebuilt
      FROM pg_class c JOIN pg_database d ON d.datname = current_database()
     WHERE c.oid = 'leases'::regclass AND (
    pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
    OR CASE WHEN current_setting('server_version_num')::int >= 170000
            THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)
       AND CASE WHEN coalesce(pg_sequence_last_value('claim_seq'), 0) = $1 AND pg_indexes_size(c.oid) > 1048576
                THEN (SELECT count(*) FROM (SELECT FROM leases LIMIT 1000) few) < 1000 ELSE false END) found;

-- log_prune: $1 keep_seconds, $2 limit
PREPARE log_prune (double precision, bigint) AS
WITH pruned AS (
    DELETE FROM notifications WHERE seq_last = ANY (ARRAY (
        SELECT seq_last FROM (
            SELECT seq_last,
                   bool_and(created_at < now() - make_interval(secs => $1)) OVER (ORDER BY seq_last) AS old
              FROM (SELECT seq_last, created_at FROM notifications ORDER BY seq_last LIMIT $2) AS oldest
        ) AS judged WHERE old))
    RETURNING 1
), uncounted AS (
    DELETE FROM other_ends WHERE ended_at < now() - interval '1 hour'
)
SELECT count(*) AS count FROM pruned;

-- jobs_find_old: $1 after, $2 keep_seconds, $3 limit
PREPARE jobs_find_old (bigint, double precision, bigint) AS
WITH looked_at AS MATERIALIZED (
    SELECT id, created_at FROM jobs WHERE id > $1 ORDER BY id LIMIT $3
)
SELECT count(*) AS looked_at, max(l.id) AS last,
       bool_and(l.created_at BETWEEN now() - make_interval(secs => $2) AND now()) AS are_young,
       array_agg(l.id) FILTER (WHERE EXISTS (SELECT FROM jobs j WHERE j.id = l.id AND 
EXISTS (SELECT FROM jobs o WHERE o.model_id = j.model_id AND o.request_no > j.request_no)
AND NOT EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
AND (SELECT finished_at FROM job_states WHERE id = j.id) < now() - make_interval(secs => $2)
AND j.id IS DISTINCT FROM (SELECT job_id FROM thumbnails WHERE model_id = j.model_id)
AND j.id IS DISTINCT FROM (
    SELECT p.id FROM jobs p JOIN attempts a ON a.job_id = p.id
     WHERE p.model_id = j.model_id AND a.end_no IS NOT NULL AND a.outcome = 'Completed'
     ORDER BY a.end_no DESC LIMIT 1))) AS job_ids
  FROM looked_at l;

-- jobs_lock_old: $1 job_ids
PREPARE jobs_lock_old (bigint[]) AS
SELECT id FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED;

-- jobs_prune: $1 job_ids, $2 keep_seconds
PREPARE jobs_prune (bigint[], double precision) AS
WITH old AS MATERIALIZED (
    SELECT j.id, (SELECT status FROM job_states WHERE id = j.id) AS status
      FROM jobs j WHERE j.id = ANY ($1) AND 
EXISTS (SELECT FROM jobs o WHERE o.model_id = j.model_id AND o.request_no > j.request_no)
AND NOT EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
AND (SELECT finished_at FROM job_states WHERE id = j.id) < now() - make_interval(secs => $2)
AND j.id IS DISTINCT FROM (SELECT job_id FROM thumbnails WHERE model_id = j.model_id)
AND j.id IS DISTINCT FROM (
    SELECT p.id FROM jobs p JOIN attempts a ON a.job_id = p.id
     WHERE p.model_id = j.model_id AND a.end_no IS NOT NULL AND a.outcome = 'Completed'
     ORDER BY a.end_no DESC LIMIT 1)
), without_events AS (
    DELETE FROM job_events WHERE job_id = ANY (ARRAY (SELECT id FROM old))
), without_traces AS (
    DELETE FROM job_traces WHERE job_id = ANY (ARRAY (SELECT id FROM old))
), without_attempts AS (
    DELETE FROM attempts WHERE job_id = ANY (ARRAY (SELECT id FROM old)) RETURNING path, ended_at
), listed AS (
    INSERT INTO removals (path, reported_at)
    SELECT path, max(ended_at) FROM without_attempts WHERE path <> '' GROUP BY path
), pruned AS (
    DELETE FROM jobs WHERE id = ANY (ARRAY (SELECT id FROM old))
), counted AS (
    SELECT count(*) FILTER (WHERE status = 'Completed') AS completed,
           count(*) FILTER (WHERE status = 'Failed') AS failed,
           count(*) FILTER (WHERE status = 'Cancelled') AS cancelled, count(*) AS count
      FROM old
), head AS (
    UPDATE queue_head h
       SET jobs = h.jobs - c.count, completed = h.completed - c.completed, failed = h.failed - c.failed,
           cancelled = h.cancelled - c.cancelled
      FROM counted c WHERE c.count > 0
    RETURNING h.seq
)
SELECT c.count FROM counted c LEFT JOIN head ON true;

-- jobs_prune_strays: $1 after, $2 last
PREPARE jobs_prune_strays (bigint, bigint) AS
WITH without_events AS (
    DELETE FROM job_events WHERE job_id = ANY (ARRAY (
        SELECT job_id
          FROM (SELECT DISTINCT job_id FROM job_events WHERE job_id > $1 AND job_id <= $2 OFFSET 0) e
         WHERE (SELECT id FROM jobs WHERE id = e.job_id) IS NULL))
)
DELETE FROM job_traces WHERE job_id = ANY (ARRAY (
    SELECT job_id FROM job_traces t
     WHERE job_id > $1 AND job_id <= $2 AND (SELECT id FROM jobs WHERE id = t.job_id) IS NULL));

-- jobs_recount
PREPARE jobs_recount AS
WITH seen AS MATERIALIZED (
    SELECT (SELECT count(*) FROM jobs) - jobs AS missing FROM queue_head
), moved AS (
    UPDATE queue_head h SET jobs = h.jobs + s.missing FROM seen s WHERE s.missing <> 0
)
SELECT abs(missing) FROM seen;

-- model_versions_exist
PREPARE model_versions_exist AS
SELECT EXISTS (SELECT FROM model_versions) AS exist;

-- model_versions_write: $1 version_ids, $2 model_ids, $3 model_hashes
PREPARE model_versions_write (bigint[], bigint[], bytea[]) AS
INSERT INTO model_versions AS v (version_id, model_id, model_hash)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS i (version_id, model_id, model_hash)
 ORDER BY version_id
ON CONFLICT (version_id) DO UPDATE
   SET model_id = excluded.model_id, model_hash = excluded.model_hash
 WHERE (v.model_id, v.model_hash) <> (excluded.model_id, excluded.model_hash);

-- model_versions_write_missing: $1 version_ids, $2 model_ids, $3 model_hashes
PREPARE model_versions_write_missing (bigint[], bigint[], bytea[]) AS
INSERT INTO model_versions (version_id, model_id, model_hash)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS i (version_id, model_id, model_hash)
 WHERE (SELECT id FROM jobs WHERE model_id = i.model_id AND model_hash = i.model_hash) IS NOT NULL
 ORDER BY version_id
ON CONFLICT (version_id) DO NOTHING;

-- model_versions_of_jobs: $1 job_ids
PREPARE model_versions_of_jobs (bigint[]) AS
SELECT j.id, max(v.version_id) AS version_id
  FROM jobs j JOIN model_versions v ON v.model_id = j.model_id AND v.model_hash = j.model_hash
 WHERE j.id = ANY ($1) GROUP BY j.id;

-- model_versions_read: $1 version_id
PREPARE model_versions_read (bigint) AS
SELECT v.model_id, v.model_hash, v.created_at, p.ended_at, p.path, p.size_bytes, p.width, p.height,
       s.status, s.attempt_count, s.error_message
  FROM model_versions v
  LEFT JOIN jobs j ON j.model_id = v.model_id AND j.model_hash = v.model_hash
  LEFT JOIN LATERAL (SELECT * FROM job_states WHERE id = j.id OFFSET 0) s ON true
  LEFT JOIN LATERAL (
    SELECT ended_at, path, size_bytes, width, height FROM attempts a
     WHERE a.job_id = j.id AND a.outcome = 'Completed' AND a.path <> '' ORDER BY a.lease_seq DESC LIMIT 1) p ON true
 WHERE v.version_id = $1;

-- log_head
PREPARE log_head AS
SELECT epoch, seq FROM queue_head;

-- log_oldest
PREPARE log_oldest AS
SELECT seq_first AS oldest FROM notifications ORDER BY seq_last LIMIT 1;

-- log_after: $1 seq, $2 limit, $3 events
PREPARE log_after (bigint, bigint, bigint) AS
SELECT seq_last, seq_first, created_at, status, test, model_ids, job_ids, attempt_counts, error_messages,
       next_attempt_ats, thumbnail_url
  FROM notifications
 WHERE seq_last > $1
   AND seq_last <= (SELECT min(seq_last) FROM notifications WHERE seq_last > $1) + $3
 ORDER BY seq_last LIMIT $2;

-- log_publish_test: $1 model_id, $2 status, $3 thumbnail_url, $4 error_message
PREPARE log_publish_test (bigint, text, text, text) AS
WITH head AS (
    UPDATE queue_head SET seq = seq + 1 RETURNING seq
)
INSERT INTO notifications (seq_last, seq_first, status, test, model_ids, job_ids, attempt_counts, error_messages,
                           next_attempt_ats, thumbnail_url)
SELECT seq, seq, $2, true, ARRAY[$1::bigint], ARRAY[0::bigint], ARRAY[0::smallint], ARRAY[$4::text], NULL, $3
  FROM head
RETURNING seq_last;

-- pause_begin: $1 paused_by, $2 reason
PREPARE pause_begin (text, text) AS
INSERT INTO queue_pause (paused_by, reason) VALUES ($1, $2)
ON CONFLICT (only_row) DO UPDATE SET paused_at = now(), paused_by = $1, reason = $2
RETURNING paused_at, paused_by, reason;

-- pause_end
PREPARE pause_end AS
DELETE FROM queue_pause RETURNING paused_at, paused_by, reason;

-- durability_look
PREPARE durability_look AS
SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS standby_names,
       EXISTS (SELECT FROM pg_stat_replication AS follower
                WHERE state IS DISTINCT FROM 'backup' AND application_name IS DISTINCT FROM 'pg_receivewal'
                  AND NOT EXISTS (SELECT FROM pg_replication_slots
                                   WHERE slot_type = 'logical' AND active_pid = follower.pid)) AS has_standbys;

-- history_look
PREPARE history_look AS
SELECT epoch, seq, beat, coalesce(pg_sequence_last_value('claim_seq'::regclass), 0) AS claims, coalesce(pg_sequence_last_value(pg_get_serial_sequence('jobs', 'id')::regclass), 0) AS jobs, identity, (SELECT system_identifier FROM pg_control_system()) || '/'
           || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
           || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'queue_head'::regclass::oid AS present_identity FROM queue_head;

-- history_beat
PREPARE history_beat AS
UPDATE queue_head SET beat = beat + 1 RETURNING epoch, seq, beat, coalesce(pg_sequence_last_value('claim_seq'::regclass), 0) AS claims, coalesce(pg_sequence_last_value(pg_get_serial_sequence('jobs', 'id')::regclass), 0) AS jobs, identity, (SELECT system_identifier FROM pg_control_system()) || '/'
           || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/'
           || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'queue_head'::regclass::oid AS present_identity;

-- history_begin: $1 known_epoch, $2 known_beat, $3 epoch, $4 beat, $5 identity
PREPARE history_begin (text, bigint, text, bigint, text) AS
UPDATE queue_head SET epoch = $3, beat = greatest(beat, $4), identity = $5 WHERE epoch = $1 AND beat >= $2;

-- history_identify: $1 identity
PREPARE history_identify (text) AS
UPDATE queue_head SET identity = $1 WHERE identity IS NULL;

-- notify_broadcast: $1 payloads
PREPARE notify_broadcast (text[]) AS
SELECT pg_notify('thumbq', payload)
  FROM unnest($1::text[]) AS payload, set_config('synchronous_commit', 'off', true);

-- job_states_of: $1 job_ids
PREPARE job_states_of (bigint[]) AS
SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY ($1);

-- progress_write: $1 job_ids, $2 lease_seqs, $3 fractions, $4 messages
PREPARE progress_write (bigint[], bigint[], double precision[], text[]) AS
INSERT INTO job_progress AS p (job_id, lease_seq, fraction, message)
SELECT t.job_id, t.lease_seq, t.fraction, t.message
  FROM unnest($1::bigint[], $2::bigint[], $3::float8[], $4::text[]) AS t (job_id, lease_seq, fraction, message)
 WHERE EXISTS (SELECT FROM leases l WHERE l.job_id = t.job_id AND l.lease_seq = t.lease_seq)
 ORDER BY t.job_id
ON CONFLICT (job_id) DO UPDATE
   SET lease_seq = excluded.lease_seq, fraction = excluded.fraction, message = excluded.message, reported_at = now()
 WHERE p.lease_seq <= excluded.lease_seq;

-- progress_sign_of_life: $1 job_id, $2 lease_seq, $3 lease_seconds
PREPARE progress_sign_of_life (bigint, bigint, double precision) AS
UPDATE leases l
   SET expires_at = CASE WHEN w.session_id = '' THEN greatest(l.expires_at, now() + $3 * interval '1 second')
                         ELSE l.expires_at END
  FROM workers w
 WHERE l.job_id = $1 AND ($2::bigint = 0 OR l.lease_seq = $2) AND w.id = l.session
RETURNING l.lease_seq, l.session, l.expires_at;

-- progress_read: $1 job_id, $2 lease_seq
PREPARE progress_read (bigint, bigint) AS
SELECT fraction, message, reported_at FROM job_progress WHERE job_id = $1 AND lease_seq = $2;

-- progress_current: $1 limit
PREPARE progress_current (bigint) AS
SELECT * FROM (
    SELECT l.model_id, l.job_id, l.attempt, p.fraction, p.message, p.reported_at
      FROM job_progress p JOIN leases l ON l.job_id = p.job_id AND l.lease_seq = p.lease_seq
     ORDER BY p.reported_at DESC LIMIT $1) AS newest
 ORDER BY reported_at, job_id;

-- progress_prune: $1 limit
PREPARE progress_prune (bigint) AS
WITH pruned AS (
    DELETE FROM job_progress WHERE job_id = ANY (ARRAY (
        SELECT job_id FROM job_progress p
         WHERE NOT EXISTS (SELECT FROM leases l WHERE l.job_id = p.job_id AND l.lease_seq = p.lease_seq)
         LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- activity: $1 epoch, $2 after
PREPARE activity (text, bigint) AS
WITH RECURSIVE head AS MATERIALIZED (
    SELECT epoch, seq, date_trunc('minute', now()) - interval '4 minutes' AS moment FROM queue_head
), search AS (
    SELECT (SELECT min(seq_last) FROM notifications) AS low, seq + 1 AS high FROM head
    UNION ALL
    SELECT CASE WHEN m.created_at < head.moment THEN greatest(m.seq_last, (low + high) / 2) + 1 ELSE low END,
           CASE WHEN m.created_at < head.moment THEN high ELSE (low + high) / 2 END
      FROM search CROSS JOIN head
     CROSS JOIN LATERAL (
        SELECT created_at, seq_last FROM notifications WHERE seq_last >= (low + high) / 2
         ORDER BY seq_last LIMIT 1) m
     WHERE low < high
), ends AS (
    SELECT true AS in_log, created_at AS ended_at,
           CASE status WHEN 'Ready' THEN 'Completed' ELSE 'Failed' END AS outcome,
           seq_last - seq_first + 1 AS count
      FROM notifications
     WHERE seq_last BETWEEN (SELECT CASE WHEN epoch = $1 THEN $2::bigint + 1 ELSE (SELECT max(low) FROM search) END
                               FROM head) AND (SELECT seq FROM head)
       AND created_at >= (SELECT moment FROM head)
       AND status IN ('Ready', 'Failed') AND NOT test AND counted_apart IS NULL
     UNION ALL
    SELECT false, ended_at, outcome, count FROM other_ends WHERE ended_at >= (SELECT moment FROM head)
), sums AS (
    SELECT in_log, date_trunc('minute', ended_at) AS minute, coalesce(sum(count) FILTER (WHERE outcome = 'Completed'), 0)::bigint, coalesce(sum(count) FILTER (WHERE outcome = 'Failed'), 0)::bigint, coalesce(sum(count) FILTER (WHERE outcome = 'Expired'), 0)::bigint, coalesce(sum(count) FILTER (WHERE outcome = 'Cancelled'), 0)::bigint, coalesce(sum(count) FILTER (WHERE outcome = 'Released'), 0)::bigint FROM ends GROUP BY 1, 2
)
SELECT head.epoch, head.seq, head.moment, sums.* FROM head LEFT JOIN sums ON true;

-- condition
PREPARE condition AS
WITH waits AS MATERIALIZED (
    SELECT greatest(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8 AS seconds
      FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE NOT l.granted AND a.datname = current_database()
)
SELECT relname, n_dead_tup,
       CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN coalesce(
         (SELECT extract(epoch FROM now() - min(xact_start))::float8
            FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND backend_type <> 'autovacuum worker'), 0)
       END AS oldest,
       (SELECT count(*) FROM waits) AS lock_waits,
       (SELECT coalesce(max(seconds), 0) FROM waits) AS longest_lock_wait,
       pg_database_size(current_database()) AS size_bytes
  FROM pg_stat_user_tables WHERE schemaname = current_schema();

-- history_read: $1 job_id
PREPARE history_read (bigint) AS
SELECT a.attempt, a.lease_seq, w.worker_id, a.claimed_at, a.ended_at, a.outcome, a.error_message, a.path,
       a.next_attempt_at
  FROM attempts a LEFT JOIN workers w ON w.id = a.session
 WHERE a.job_id = $1 ORDER BY a.lease_seq;

-- jobs_page_all: $1 below, $2 limit
PREPARE jobs_page_all (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM job_records
WHERE job_records.id < $1::BIGINT ORDER BY job_records.id DESC
 LIMIT $2::BIGINT;

-- jobs_page_all_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_all_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM job_records
WHERE job_records.id < $1::BIGINT AND job_records.model_id = $2::BIGINT ORDER BY job_records.id DESC
 LIMIT $3::BIGINT;

-- jobs_page_pending: $1 below, $2 limit
PREPARE jobs_page_pending (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM ready JOIN job_records ON job_records.id = ready.job_id
WHERE ready.job_id < $1::BIGINT ORDER BY ready.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_pending_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_pending_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM ready JOIN job_records ON job_records.id = ready.job_id
WHERE ready.job_id < $1::BIGINT AND job_records.model_id = $2::BIGINT ORDER BY ready.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_processing: $1 below, $2 limit
PREPARE jobs_page_processing (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM leases JOIN job_records ON job_records.id = leases.job_id
WHERE leases.job_id < $1::BIGINT ORDER BY leases.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_processing_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_processing_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM leases JOIN job_records ON job_records.id = leases.job_id
WHERE leases.job_id < $1::BIGINT AND job_records.model_id = $2::BIGINT ORDER BY leases.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_completed: $1 below, $2 limit
PREPARE jobs_page_completed (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM job_records
WHERE job_records.id < $1::BIGINT AND job_records.status = 'Completed' ORDER BY job_records.id DESC
 LIMIT $2::BIGINT;

-- jobs_page_completed_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_completed_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM job_records
WHERE job_records.id < $1::BIGINT AND job_records.status = 'Completed' AND job_records.model_id = $2::BIGINT ORDER BY job_records.id DESC
 LIMIT $3::BIGINT;

-- jobs_page_failed: $1 below, $2 limit
PREPARE jobs_page_failed (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM attempts JOIN job_records ON job_records.id = attempts.job_id
WHERE attempts.job_id < $1::BIGINT AND attempts.dead AND attempts.outcome = 'Failed' ORDER BY attempts.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_failed_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_failed_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM attempts JOIN job_records ON job_records.id = attempts.job_id
WHERE attempts.job_id < $1::BIGINT AND attempts.dead AND attempts.outcome = 'Failed' AND job_records.model_id = $2::BIGINT ORDER BY attempts.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_page_cancelled: $1 below, $2 limit
PREPARE jobs_page_cancelled (bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM attempts JOIN job_records ON job_records.id = attempts.job_id
WHERE attempts.job_id < $1::BIGINT AND attempts.dead AND attempts.outcome = 'Cancelled' ORDER BY attempts.job_id DESC
 LIMIT $2::BIGINT;

-- jobs_page_cancelled_of_model: $1 below, $2 model_id, $3 limit
PREPARE jobs_page_cancelled_of_model (bigint, bigint, bigint) AS
SELECT job_records.id, job_records.model_id, job_records.model_hash, job_records.request_no, job_records.priority, job_records.max_attempts, job_records.error_message, job_records.created_at, job_records.finished_at, job_records.status, job_records.attempt_count, job_records.lease_seq, job_records.updated_at, job_records.run_at, job_records.lease_expires_at, job_records.worker_id, job_records.kind, job_records.options
FROM attempts JOIN job_records ON job_records.id = attempts.job_id
WHERE attempts.job_id < $1::BIGINT AND attempts.dead AND attempts.outcome = 'Cancelled' AND job_records.model_id = $2::BIGINT ORDER BY attempts.job_id DESC
 LIMIT $3::BIGINT;

-- jobs_read: $1 job_id
PREPARE jobs_read (bigint) AS
SELECT * FROM job_records WHERE id = $1;

-- jobs_live_of_model: $1 model_id
PREPARE jobs_live_of_model (bigint) AS
SELECT id FROM job_states WHERE model_id = $1 AND status IN ('Pending', 'Processing') ORDER BY id;

-- jobs_live_among: $1 job_ids
PREPARE jobs_live_among (bigint[]) AS
SELECT id FROM job_states WHERE id = ANY ($1) AND status IN ('Pending', 'Processing');

-- leases_held: $1 session
PREPARE leases_held (bigint) AS
SELECT job_id, lease_seq FROM leases WHERE session = $1 ORDER BY job_id;

-- leases_count: $1 sessions
PREPARE leases_count (bigint[]) AS
SELECT session, count(*) AS count FROM leases WHERE session = ANY ($1) GROUP BY session;

-- leases_lost: $1 job_ids
PREPARE leases_lost (bigint[]) AS
SELECT id, status, lease_seq FROM job_states WHERE id = ANY ($1);

-- operations_workers: $1 limit
PREPARE operations_workers (bigint) AS
SELECT w.worker_id, w.session_id, w.version, w.labels, w.first_seen_at, w.last_seen_at,
       coalesce(l.count, 0) AS in_flight,
       l.count IS NULL AND w.last_seen_at <= now() - interval '1 minute' AS gone, w.completed, w.failed,
       -- nobody renews the rate of a worker that is silent
       CASE WHEN w.counted_at > now() - interval '1 minute' THEN w.completed_per_minute ELSE 0 END
         AS completed_per_minute
  FROM (SELECT * FROM workers ORDER BY last_seen_at DESC, id DESC LIMIT $1) w
  LEFT JOIN (SELECT session, count(*) FROM leases GROUP BY session) l ON l.session = w.id
 ORDER BY w.last_seen_at DESC, w.id DESC;

-- operations_dead_letters: $1 below, $2 limit, $3 reason, $4 looked_at
PREPARE operations_dead_letters (bigint, bigint, text, bigint) AS
WITH looked_at AS MATERIALIZED (
    SELECT job_id, outcome, error_message FROM attempts WHERE dead AND job_id < $1
     ORDER BY job_id DESC LIMIT $4
), found AS MATERIALIZED (
    SELECT job_id FROM looked_at
     WHERE outcome = 'Failed' AND strpos(lower(error_message), lower($3)) > 0
     ORDER BY job_id DESC LIMIT $2
)
SELECT (SELECT array_agg(job_id ORDER BY job_id DESC) FROM found) AS job_ids,
       (SELECT count(*) FROM looked_at) AS looked_at, (SELECT min(job_id) FROM looked_at) AS lowest;

-- operations_dead_among: $1 job_ids
PREPARE operations_dead_among (bigint[]) AS
SELECT job_id FROM attempts WHERE dead AND outcome = 'Failed' AND job_id = ANY ($1) ORDER BY job_id;

-- operations_jobs: $1 job_ids
PREPARE operations_jobs (bigint[]) AS
SELECT * FROM job_records WHERE id = ANY ($1) ORDER BY id DESC;

-- operations_ahead: $1 job_id, $2 run_at, $3 priority, $4 limit
PREPARE operations_ahead (bigint, timestamp with time zone, smallint, bigint) AS
SELECT now() AS now, (
    SELECT count(*) FROM (
        SELECT FROM ready WHERE (rank, job_id) < ($2::timestamptz - $3::smallint * interval '60 seconds', $1)
           AND rank <= now() AND run_at <= now() LIMIT $4) a) AS ahead;

-- operations_ahead_of_kind: $1 job_id, $2 run_at, $3 priority, $4 limit, $5 kind
PREPARE operations_ahead_of_kind (bigint, timestamp with time zone, smallint, bigint, text) AS
SELECT now() AS now, (
    SELECT count(*) FROM (
        SELECT FROM ready
         WHERE kind = $5 AND (kind_rank, job_id) < ($2::timestamptz - $3::smallint * interval '60 seconds', $1)
           AND kind_rank <= now() AND run_at <= now() LIMIT $4) a) AS ahead;

-- snapshot_count
PREPARE snapshot_count AS
SELECT greatest(h.jobs - h.completed - h.failed - h.cancelled - l.processing, 0) AS pending, l.processing,
           h.completed, h.failed, h.cancelled, now() AS timestamp FROM queue_head h CROSS JOIN (SELECT count(*) AS processing FROM leases) l;

-- snapshot_rendering
PREPARE snapshot_rendering AS
SELECT l.model_id, l.job_id, w.worker_id, l.attempt, l.claimed_at
  FROM (SELECT * FROM leases ORDER BY claimed_at DESC LIMIT 100) l JOIN workers w ON w.id = l.session
 ORDER BY l.claimed_at DESC;

-- statistics_depth
PREPARE statistics_depth AS
WITH RECURSIVE kinds (kind, number) AS (
    (SELECT kind, 1 FROM ready WHERE kind IS NOT NULL ORDER BY kind, kind_rank, job_id LIMIT 1)
     UNION ALL
    SELECT (SELECT kind FROM ready WHERE kind IS NOT NULL AND kind > k.kind
             ORDER BY kind, kind_rank, job_id LIMIT 1), number + 1
      FROM kinds k WHERE k.kind IS NOT NULL AND number < 100
)
SELECT greatest(h.jobs - h.completed - h.failed - h.cancelled - l.processing, 0) AS pending, l.processing,
       h.completed, h.failed, h.cancelled,
       (SELECT extract(epoch FROM now() - min(run_at))::float8
          FROM ((SELECT run_at FROM ready WHERE rank <= now() ORDER BY rank, job_id LIMIT 1000)
                UNION ALL
                (SELECT r.run_at FROM kinds k CROSS JOIN LATERAL (
                    SELECT run_at FROM ready WHERE kind = k.kind AND kind_rank <= now()
                     ORDER BY kind_rank, job_id LIMIT 100) r)) next
         WHERE run_at <= now()) AS oldest_age,
       (SELECT count(*) FROM workers
         WHERE last_seen_at > now() - interval '1 minute'
            OR id = ANY (ARRAY (SELECT DISTINCT session FROM leases))) AS workers,
       p.paused_at, p.paused_by, p.reason
  FROM queue_head h CROSS JOIN (SELECT count(*) AS processing FROM leases) l LEFT JOIN queue_pause p ON true;

-- statistics_pending
PREPARE statistics_pending AS
SELECT greatest(h.jobs - h.completed - h.failed - h.cancelled - l.processing, 0) AS pending, l.processing,
           h.completed, h.failed, h.cancelled FROM queue_head h CROSS JOIN (SELECT count(*) AS processing FROM leases) l;

-- statistics_durations: $1 limit
PREPARE statistics_durations (bigint) AS
WITH sample AS MATERIALIZED (
    SELECT job_id
      FROM (SELECT status, test, job_ids FROM notifications
             ORDER BY seq_last DESC LIMIT 2 * $1::bigint) tail
     CROSS JOIN LATERAL unnest(job_ids) AS job_id
     WHERE status = 'Ready' AND NOT test
     LIMIT $1
), facts AS (
    SELECT id AS job_id, coalesce(since, 0) AS lease_seq, true AS is_job, due_at, NULL AS outcome,
           NULL::timestamptz AS claimed_at, NULL::timestamptz AS ended_at, NULL::timestamptz AS next_attempt_at
      FROM jobs WHERE id = ANY (ARRAY(SELECT job_id FROM sample))
     UNION ALL
    SELECT job_id, lease_seq, false, NULL, outcome, claimed_at, ended_at, next_attempt_at
      FROM attempts WHERE job_id = ANY (ARRAY(SELECT job_id FROM sample))
), attempt_by_attempt AS (
    SELECT job_id, lease_seq, outcome, claimed_at, ended_at,
           coalesce(lag(next_attempt_at) OVER (PARTITION BY job_id ORDER BY lease_seq, is_job),
                    max(due_at) OVER (PARTITION BY job_id)) AS due_at
      FROM facts
), measured AS (
    SELECT DISTINCT ON (job_id) extract(epoch FROM claimed_at - due_at)::float8 AS wait,
           extract(epoch FROM ended_at - claimed_at)::float8 AS processing
      FROM attempt_by_attempt WHERE outcome = 'Completed' AND claimed_at IS NOT NULL
     ORDER BY job_id, lease_seq DESC
)
SELECT count(*) AS samples,
       percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(wait, 0)) AS wait,
       percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(processing, 0)) AS processing
  FROM measured;

-- thumbnails_read: $1 model_id
PREPARE thumbnails_read (bigint) AS
SELECT $1::bigint AS model_id, CASE WHEN s.status = 'Processing' THEN 'Processing'
            WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
            THEN 'Pending'
            ELSE coalesce(t.status, 'None') END AS status,
       t.error_message, t.created_at, t.processed_at, t.path, t.size_bytes, t.width, t.height, t.model_hash
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (SELECT * FROM thumbnails WHERE model_id = $1) t ON true
  LEFT JOIN LATERAL (
    SELECT status, request_no, attempt_count FROM job_states j WHERE model_id = $1
     ORDER BY greatest(request_no, (SELECT rerun_request_no FROM leases WHERE job_id = j.id)) DESC LIMIT 1) s ON true;

-- thumbnails_read_many: $1 model_ids
PREPARE thumbnails_read_many (bigint[]) AS
SELECT i.model_id, CASE WHEN s.status = 'Processing' THEN 'Processing'
            WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
            THEN 'Pending'
            ELSE coalesce(t.status, 'None') END AS status,
       t.error_message, t.created_at, t.processed_at, t.path, t.size_bytes, t.width, t.height, t.model_hash
  FROM unnest($1::bigint[]) WITH ORDINALITY AS i (model_id, place)
  LEFT JOIN LATERAL (SELECT * FROM thumbnails WHERE model_id = i.model_id OFFSET 0) t ON true
  LEFT JOIN LATERAL (
    SELECT status, request_no, attempt_count FROM job_states j WHERE model_id = i.model_id
     ORDER BY greatest(request_no, (SELECT rerun_request_no FROM leases WHERE job_id = j.id)) DESC LIMIT 1) s ON true
 ORDER BY i.place;

-- removals_find_superseded: $1 after, $2 grace_seconds, $3 limit
PREPARE removals_find_superseded (bigint, double precision, bigint) AS
WITH looked_at AS MATERIALIZED (
    SELECT id, model_id, model_hash FROM jobs WHERE id > $1 ORDER BY id LIMIT $3
)
SELECT count(*) AS looked_at, max(j.id) AS last,
       array_agg(j.id) FILTER (WHERE EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.outcome = 'Completed' AND a.path <> ''
       AND a.ended_at < now() - make_interval(secs => $2)
       AND EXISTS (
        SELECT FROM jobs n JOIN attempts newer ON newer.job_id = n.id
         WHERE n.model_id = j.model_id AND newer.outcome = 'Completed' AND newer.end_no > coalesce(a.end_no, 0)
           AND newer.ended_at < now() - make_interval(secs => $2))
       AND NOT (
        EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
        AND a.lease_seq = (SELECT max(lease_seq) FROM attempts WHERE job_id = j.id AND outcome = 'Completed')))) AS job_ids
  FROM looked_at j;

-- removals_list_superseded: $1 job_ids, $2 grace_seconds
PREPARE removals_list_superseded (bigint[], double precision) AS
WITH superseded AS MATERIALIZED (
    SELECT a.job_id, a.lease_seq, a.path, a.ended_at
      FROM jobs j CROSS JOIN LATERAL (SELECT * FROM attempts WHERE job_id = j.id OFFSET 0) a
     WHERE j.id = ANY ($1) AND a.job_id = j.id AND a.outcome = 'Completed' AND a.path <> ''
       AND a.ended_at < now() - make_interval(secs => $2)
       AND EXISTS (
        SELECT FROM jobs n JOIN attempts newer ON newer.job_id = n.id
         WHERE n.model_id = j.model_id AND newer.outcome = 'Completed' AND newer.end_no > coalesce(a.end_no, 0)
           AND newer.ended_at < now() - make_interval(secs => $2))
       AND NOT (
        EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
        AND a.lease_seq = (SELECT max(lease_seq) FROM attempts WHERE job_id = j.id AND outcome = 'Completed'))
), emptied AS (
    UPDATE attempts a SET path = ''
      FROM superseded s WHERE a.job_id = s.job_id AND a.lease_seq = s.lease_seq
    RETURNING s.path, s.ended_at
), listed AS (
    INSERT INTO removals (path, reported_at) SELECT path, max(ended_at) FROM emptied GROUP BY path
    RETURNING path
)
SELECT count(*) AS count FROM listed;

-- removals_due: $1 limit
PREPARE removals_due (bigint) AS
SELECT id, path, reported_at, now() AS looked_at FROM removals WHERE due_at <= now() ORDER BY id LIMIT $1;

-- removals_named: $1 paths
PREPARE removals_named (text[]) AS
SELECT DISTINCT path FROM attempts WHERE path = ANY ($1) AND path <> '';

-- removals_drop: $1 ids
PREPARE removals_drop (bigint[]) AS
DELETE FROM removals WHERE id = ANY ($1);

-- removals_postpone: $1 ids, $2 seconds
PREPARE removals_postpone (bigint[], double precision) AS
UPDATE removals SET due_at = now() + make_interval(secs => $2) WHERE id = ANY ($1);

-- traces_exist
PREPARE traces_exist AS
SELECT EXISTS (SELECT FROM job_traces) AS exist;

-- traces_of_jobs: $1 job_ids
PREPARE traces_of_jobs (bigint[]) AS
SELECT t.job_id, t.traceparent, t.earlier_attempt, j.waits_since
  FROM job_traces t
 CROSS JOIN LATERAL (
    SELECT CASE WHEN (SELECT max(lease_seq) FROM attempts WHERE job_id = t.job_id) > coalesce(since, 0) THEN NULL
                ELSE coalesce(reset_at, created_at) END AS waits_since
      FROM jobs WHERE id = t.job_id OFFSET 0) j
 WHERE t.job_id = ANY ($1) AND t.traceparent <> '';

-- traces_renew: $1 model_ids, $2 model_hashes, $3 traceparents
PREPARE traces_renew (bigint[], bytea[], text[]) AS
INSERT INTO job_traces (job_id, traceparent)
SELECT DISTINCT ON (s.id) s.id, t.traceparent
  FROM unnest($1::bigint[], $2::bytea[], $3::text[]) AS t (model_id, model_hash, traceparent)
       JOIN jobs j USING (model_id, model_hash) JOIN job_states s ON s.id = j.id
 WHERE s.status IN ('Completed', 'Failed', 'Cancelled')
   AND (t.traceparent <> '' OR (SELECT traceparent FROM job_traces WHERE job_id = s.id) <> '')
 ORDER BY s.id, t.traceparent DESC
ON CONFLICT (job_id) DO UPDATE SET traceparent = excluded.traceparent, earlier_attempt = NULL;

-- traces_note_attempts: $1 job_ids, $2 traceparents
PREPARE traces_note_attempts (bigint[], text[]) AS
WITH named AS MATERIALIZED (
    SELECT t.job_id, i.traceparent
      FROM job_traces t JOIN unnest($1::bigint[], $2::text[]) AS i (job_id, traceparent) USING (job_id)
     ORDER BY t.job_id FOR UPDATE OF t
)
UPDATE job_traces t SET earlier_attempt = n.traceparent FROM named n WHERE t.job_id = n.job_id;

-- cancel_lock_ready: $1 job_ids
PREPARE cancel_lock_ready (bigint[]) AS
SELECT r.ctid
              FROM unnest($1::bigint[]) AS i (job_id)
             CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
             CROSS JOIN LATERAL (
                SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE  OFFSET 0) r;

-- cancel_lock_leases: $1 job_ids
PREPARE cancel_lock_leases (bigint[]) AS
SELECT FROM leases WHERE job_id = ANY ($1) ORDER BY lease_seq, job_id FOR UPDATE;

-- cancel: $1 job_ids
PREPARE cancel (bigint[]) AS
WITH unready AS (
    DELETE FROM ready WHERE ctid = ANY (ARRAY (SELECT r.ctid
          FROM unnest($1::bigint[]) AS i (job_id)
         CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
         CROSS JOIN LATERAL (
            SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE SKIP LOCKED OFFSET 0) r))
    RETURNING job_id, model_id, attempt, NULL::bigint AS lease_seq, NULL::bigint AS session,
              NULL::timestamptz AS claimed_at
), unleased AS (
    DELETE FROM leases WHERE job_id = ANY (ARRAY (
        SELECT job_id FROM leases WHERE job_id = ANY ($1) FOR UPDATE SKIP LOCKED))
    RETURNING job_id, model_id, attempt, lease_seq, session, claimed_at
), ended AS MATERIALIZED ( -- else PostgreSQL cannot look at a job again that changed while its lock was waited for
    SELECT * FROM unready UNION ALL SELECT * FROM unleased
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, attempt, outcome, session, claimed_at, error_message, dead)
    SELECT e.job_id, coalesce(e.lease_seq, nextval('claim_seq')), e.attempt, 'Cancelled', e.session, e.claimed_at,
           s.error_message, true
      FROM ended e CROSS JOIN LATERAL (SELECT error_message FROM job_states WHERE id = e.job_id OFFSET 0) s
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Cancelled', count(*) FROM ended  HAVING count(*) > 0
)
SELECT e.job_id, e.model_id, e.attempt, e.session, coalesce(e.lease_seq, s.lease_seq) AS lease_seq
  FROM ended e CROSS JOIN LATERAL (SELECT lease_seq FROM job_states WHERE id = e.job_id OFFSET 0) s;

-- cancel_move_head: $1 count
PREPARE cancel_move_head (bigint) AS
UPDATE queue_head SET seq = seq + $1, cancelled = cancelled + $1 RETURNING seq - $1 AS before;

-- cancel_announce: $1 seq_before, $2 model_ids, $3 job_ids, $4 attempts
PREPARE cancel_announce (bigint, bigint[], bigint[], smallint[]) AS
WITH news AS (
    SELECT coalesce(t.status, 'None') AS status, count(*) AS count,
           sum(count(*)) OVER (ORDER BY coalesce(t.status, 'None'))::bigint AS upto,
           array_agg(model_id) AS model_ids, array_agg(c.job_id) AS job_ids,
           array_agg(c.attempt) AS attempt_counts, array_agg(t.error_message) AS error_messages
      FROM unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS c (model_id, job_id, attempt)
      LEFT JOIN LATERAL (
        SELECT status, error_message FROM thumbnails WHERE model_id = c.model_id OFFSET 0) t ON true
     GROUP BY 1
)
INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, error_messages,
                           counted_apart)
SELECT $1 + upto, $1 + upto - count + 1, status, model_ids, job_ids, attempt_counts, error_messages, true FROM news;

-- claim: $1 limit, $2 sessions, $3 lease_seconds, $4 claim_id
PREPARE claim (bigint, bigint[], integer[], bigint) AS
WITH due AS (
    DELETE FROM ready WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM ready WHERE rank <= now() AND run_at <= now() AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row)
         ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING *
), number AS MATERIALIZED (
    SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM due)
), leased AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
    SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[1], now(),
           now() + ($3::int[])[1] * interval '1 second', $4, attempt + 1
      FROM due
)
SELECT now() AS claimed_at, (SELECT lease_seq FROM number), NULL::text[] AS kinds,
       array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
       array_agg(options) FILTER (WHERE options IS NOT NULL) AS options,
       array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, string_agg(model_hash, '') AS model_hashes,
       array_agg(attempt) AS attempts, array_agg(priority) AS priorities, array_agg(max_attempts) AS max_attempts,
       string_agg(timestamptz_send(created_at), '') AS created_at
  FROM (SELECT * FROM due ORDER BY rank, job_id) n;

-- claim_for_several: $1 limit, $2 sessions, $3 lease_seconds, $4 claim_id
PREPARE claim_for_several (bigint, bigint[], integer[], bigint) AS
WITH due AS (
    DELETE FROM ready WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM ready WHERE rank <= now() AND run_at <= now() AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row)
         ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING *
), numbered AS MATERIALIZED (
    SELECT *, (row_number() OVER (ORDER BY rank, job_id))::int AS position FROM due
), number AS MATERIALIZED (
    SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM due)
), leased AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
    SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[position], now(),
           now() + ($3::int[])[position] * interval '1 second', $4, attempt + 1
      FROM numbered
)
SELECT now() AS claimed_at, (SELECT lease_seq FROM number), NULL::text[] AS kinds,
       array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
       array_agg(options) FILTER (WHERE options IS NOT NULL) AS options,
       array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, string_agg(model_hash, '') AS model_hashes,
       array_agg(attempt) AS attempts, array_agg(priority) AS priorities, array_agg(max_attempts) AS max_attempts,
       string_agg(timestamptz_send(created_at), '') AS created_at
  FROM (SELECT * FROM due ORDER BY rank, job_id) n;

-- claim_of_kinds: $1 limit, $2 sessions, $3 lease_seconds, $4 claim_id, $5 kinds, $6 models
PREPARE claim_of_kinds (bigint, bigint[], integer[], bigint, text[], boolean) AS
WITH due AS (
    DELETE FROM ready WHERE ctid = ANY (ARRAY (
        SELECT row_id FROM (
            SELECT r.* FROM unnest($5::text[]) AS k (kind) CROSS JOIN LATERAL (
                SELECT ctid AS row_id, kind_rank AS place, job_id FROM ready
                 WHERE kind = k.kind AND kind_rank <= now() AND run_at <= now() AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row)
                 ORDER BY kind_rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED) r
             UNION ALL
            SELECT * FROM (
                SELECT ctid AS row_id, rank AS place, job_id FROM ready
                 WHERE rank <= now() AND run_at <= now() AND $6 AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row)
                 ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED) m) found
         ORDER BY place, job_id LIMIT $1))
    RETURNING *
), numbered AS MATERIALIZED (
    SELECT *, (row_number() OVER (ORDER BY coalesce(kind_rank, rank), job_id))::int AS position FROM due
), number AS MATERIALIZED (
    SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM due)
), leased AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
    SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[position], now(),
           now() + ($3::int[])[position] * interval '1 second', $4, attempt + 1
      FROM numbered
)
SELECT now() AS claimed_at, (SELECT lease_seq FROM number), array_agg(kind) AS kinds,
       array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
       array_agg(options) FILTER (WHERE options IS NOT NULL) AS options,
       array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, string_agg(model_hash, '') AS model_hashes,
       array_agg(attempt) AS attempts, array_agg(priority) AS priorities, array_agg(max_attempts) AS max_attempts,
       string_agg(timestamptz_send(created_at), '') AS created_at
  FROM (SELECT * FROM due ORDER BY coalesce(kind_rank, rank), job_id) n;

-- complete: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts, $5 paths, $6 sizes, $7 widths, $8 heights, $9 tell_models
PREPARE complete (bigint[], bigint[], integer[], integer[], text, text, integer[], integer[], boolean) AS
WITH gone AS (
    DELETE FROM leases l USING unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last)
     WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq]) AND l.rerun_request_no IS NULL AND NOT l.contested
    RETURNING l.job_id, l.lease_seq, l.model_id, l.session, l.claimed_at, l.expires_at, l.claim_id, l.attempt
), contested AS MATERIALIZED (
    SELECT model_id FROM jobs WHERE model_id = ANY ((SELECT array_agg(model_id) FROM gone)::bigint[])
     GROUP BY model_id HAVING count(*) > 1
), put_back AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt, contested)
    SELECT job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt, true
      FROM gone WHERE model_id IN (SELECT model_id FROM contested)
), number AS MATERIALIZED (
    SELECT nextval('end_seq') AS end_no
), ended AS MATERIALIZED (
    SELECT g.job_id, g.lease_seq, g.model_id, g.session, g.claimed_at, g.attempt, i.path, i.size_bytes,
           CASE WHEN cardinality($7) = 1 THEN ($7::int[])[1] ELSE i.width END AS width,
           CASE WHEN cardinality($8) = 1 THEN ($8::int[])[1] ELSE i.height END AS height
      FROM gone g JOIN unnest($1::bigint[], string_to_array($5::text, E'\x1f'), $6::text::bigint[], $7::int[], $8::int[]) AS i (job_id, path, size_bytes, width, height) ON i.job_id = g.job_id
     WHERE g.model_id NOT IN (SELECT model_id FROM contested)
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                          height)
    SELECT job_id, lease_seq, (SELECT end_no FROM number), attempt, 'Completed', session, claimed_at, path,
           size_bytes, width, height
      FROM ended
), 
news AS (
    SELECT count(*) AS count, (SELECT count(*) FROM ended)::bigint AS completed, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM ended
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Ready', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT count(*) AS count, CASE WHEN $9 OR count(*) < cardinality($1) THEN array_agg(job_id) END AS job_ids,
       CASE WHEN $9 THEN array_agg(model_id) END AS model_ids, array_agg(session) AS sessions
  FROM ended;

-- complete_one: $1 job_id, $2 lease_seq, $3 path, $4 size_bytes, $5 width, $6 height
PREPARE complete_one (bigint, bigint, text, bigint, integer, integer) AS
WITH gone AS (
    DELETE FROM leases l
     WHERE l.job_id = $1 AND l.lease_seq = $2 AND l.rerun_request_no IS NULL AND NOT l.contested
       AND NOT EXISTS (SELECT FROM jobs WHERE model_id = l.model_id AND id <> l.job_id OFFSET 0)
    RETURNING l.model_id, l.session, l.claimed_at, l.attempt
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                          height)
    SELECT $1, $2, nextval('end_seq'), attempt, 'Completed', session, claimed_at, $3, $4, $5, $6 FROM gone
), head AS (
    UPDATE queue_head h SET seq = h.seq + 1, completed = h.completed + 1 WHERE EXISTS (SELECT FROM gone)
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
    SELECT seq, seq, 'Ready', ARRAY[model_id], ARRAY[$1], ARRAY[attempt] FROM head, gone
)
SELECT count(*) AS count, array_agg($1) AS job_ids, array_agg(model_id) AS model_ids,
       array_agg(session) AS sessions
  FROM gone;

-- complete_contested: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts, $5 paths, $6 sizes, $7 widths, $8 heights, $9 lease_seqs
PREPARE complete_contested (bigint[], bigint[], integer[], integer[], text, text, integer[], integer[], bigint[]) AS
WITH gone AS (

    DELETE FROM leases l USING unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last) WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq]) RETURNING l.*, g.lease_seq AS named_seq

), ended AS MATERIALIZED (

    SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash,
           CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
           CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options, i.path, i.size_bytes, i.width, i.height,
           NULL::text AS error_message, g.rerun_request_no IS NOT NULL AS will_retry, now() AS next_run_at
      FROM gone g JOIN jobs j ON j.id = g.job_id
      JOIN unnest($1::bigint[], string_to_array($5::text, E'\x1f'), $6::text::bigint[], $7::int[], $8::int[], $9::bigint[]) AS i (job_id, path, size_bytes, width, height, lease_seq)
        ON i.job_id = g.job_id AND i.lease_seq = g.named_seq

), newest AS (
    SELECT DISTINCT ON (model_id) * FROM ended ORDER BY model_id, request_no DESC
), before AS MATERIALIZED (
    SELECT DISTINCT ON (j.model_id) j.model_id, coalesce(a.request_no, j.request_no) AS request_no
      FROM jobs j JOIN attempts a ON a.job_id = j.id
     WHERE j.model_id = ANY (ARRAY (SELECT model_id FROM newest)) AND a.end_no IS NOT NULL
     ORDER BY j.model_id, a.end_no DESC
), shown AS MATERIALIZED (
    SELECT n.*, CASE WHEN will_retry THEN next_run_at END AS next_attempt_at
      FROM newest n LEFT JOIN before b USING (model_id)
     WHERE b.request_no IS NULL OR b.request_no <= n.request_no
), number AS MATERIALIZED (
    SELECT nextval('end_seq') AS end_no
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                          height, error_message, next_attempt_at, request_no, dead)
    SELECT job_id, lease_seq,
           CASE WHEN job_id IN (SELECT job_id FROM shown) THEN (SELECT end_no FROM number) END,
           attempt, 'Completed', session, claimed_at, path, size_bytes, width, height, error_message,
           CASE WHEN will_retry THEN next_run_at END, CASE WHEN rerun_request_no IS NOT NULL THEN request_no END,
           NULL::boolean
      FROM ended
), frozen AS (
    UPDATE attempts a SET request_no = e.request_no
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND j.id = e.job_id
), again AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN next_run_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, next_run_at, model_id, created_at,
           priority, max_attempts, CASE WHEN rerun_request_no IS NULL THEN attempt ELSE 0 END, model_hash, kind, CASE WHEN kind IS NOT NULL THEN next_run_at - priority * interval '60 seconds' END, options
      FROM ended WHERE will_retry
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Completed', count(*) FROM ended WHERE job_id NOT IN (SELECT job_id FROM shown) HAVING count(*) > 0
), 
news AS (
    SELECT count(*) AS count, (SELECT count(*) FROM ended WHERE NOT will_retry)::bigint AS completed, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
      FROM news WHERE news.count > 0 OR news.completed <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Ready', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id, named_seq, model_id, session,
       CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
  FROM ended;

-- end_lock_models: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts
PREPARE end_lock_models (bigint[], bigint[], integer[], integer[]) AS
WITH held AS MATERIALIZED (
    SELECT l.job_id, l.model_id FROM leases l, unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last) WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq])
), locked AS MATERIALIZED (
    SELECT l.job_id FROM leases l
     WHERE l.job_id = ANY (ARRAY (
        SELECT id FROM jobs WHERE model_id = ANY (ARRAY (SELECT model_id FROM held))))
     ORDER BY l.lease_seq, l.job_id FOR UPDATE
), marked AS (
    UPDATE leases l SET contested = true
     WHERE l.job_id = ANY (ARRAY (SELECT job_id FROM locked))
       AND NOT l.job_id = ANY (ARRAY (SELECT job_id FROM held)) AND NOT l.contested
)
SELECT (SELECT array_agg(job_id) FROM locked) AS job_ids,
       EXISTS (SELECT FROM held WHERE job_id NOT IN (SELECT job_id FROM locked)) AS moved;

-- end_lock_jobs: $1 job_ids
PREPARE end_lock_jobs (bigint[]) AS
SELECT FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE;

-- end_lock_head
PREPARE end_lock_head AS
SELECT FROM queue_head FOR UPDATE;

-- enqueue: $1 model_ids, $2 model_hashes, $3 priorities, $4 max_attempts, $5 delays, $6 kinds, $7 options
PREPARE enqueue (text, bytea, smallint[], smallint[], double precision[], text[], text[]) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
    SELECT model_id, substring($2::bytea FROM (32 * (place - 1) + 1)::int FOR 32),
           coalesce(priority, ($3::smallint[])[1]), coalesce(max_attempts, ($4::smallint[])[1]),
           now() + coalesce(delay, ($5::float8[])[1]) * interval '1 second', kind, options
      FROM unnest($1::text::bigint[], $3::smallint[], $4::smallint[], $5::float8[], $6::text[], $7::text[])
      WITH ORDINALITY AS i (model_id, priority, max_attempts, delay, kind, options, place)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, kind, options,
              0 AS attempt
), queued AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN due_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, due_at, model_id, created_at,
           priority, max_attempts, 0, model_hash, kind, CASE WHEN kind IS NOT NULL THEN due_at - priority * interval '60 seconds' END, options
      FROM created 
), 
news AS (
    SELECT count(*) AS count, (count(*))::bigint AS jobs, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM created
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, jobs = h.jobs + news.jobs
      FROM news WHERE news.count > 0 OR news.jobs <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
  FROM created;

-- enqueue_traced: $1 model_ids, $2 model_hashes, $3 priorities, $4 max_attempts, $5 delays, $6 kinds, $7 options, $8 traceparents
PREPARE enqueue_traced (text, bytea, smallint[], smallint[], double precision[], text[], text[], jsonb) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
    SELECT model_id, substring($2::bytea FROM (32 * (place - 1) + 1)::int FOR 32),
           coalesce(priority, ($3::smallint[])[1]), coalesce(max_attempts, ($4::smallint[])[1]),
           now() + coalesce(delay, ($5::float8[])[1]) * interval '1 second', kind, options
      FROM unnest($1::text::bigint[], $3::smallint[], $4::smallint[], $5::float8[], $6::text[], $7::text[])
      WITH ORDINALITY AS i (model_id, priority, max_attempts, delay, kind, options, place)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, kind, options,
              0 AS attempt
), traced AS (
    INSERT INTO job_traces (job_id, traceparent)
    SELECT * FROM (
        SELECT job_id, $8::jsonb ->> (model_id || '-' || encode(model_hash, 'hex')) AS traceparent FROM created) t
     WHERE traceparent IS NOT NULL
), queued AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN due_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, due_at, model_id, created_at,
           priority, max_attempts, 0, model_hash, kind, CASE WHEN kind IS NOT NULL THEN due_at - priority * interval '60 seconds' END, options
      FROM created 
), 
news AS (
    SELECT count(*) AS count, (count(*))::bigint AS jobs, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM created
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, jobs = h.jobs + news.jobs
      FROM news WHERE news.count > 0 OR news.jobs <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
  FROM created;

-- enqueue_and_claim: $1 model_ids, $2 model_hashes, $3 priorities, $4 max_attempts, $5 delays, $6 kinds, $7 options, $8 sessions, $9 lease_seconds, $10 claim_id
PREPARE enqueue_and_claim (text, bytea, smallint[], smallint[], double precision[], text[], text[], bigint[], integer[], bigint) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
    SELECT model_id, substring($2::bytea FROM (32 * (place - 1) + 1)::int FOR 32),
           coalesce(priority, ($3::smallint[])[1]), coalesce(max_attempts, ($4::smallint[])[1]),
           now() + coalesce(delay, ($5::float8[])[1]) * interval '1 second', kind, options
      FROM unnest($1::text::bigint[], $3::smallint[], $4::smallint[], $5::float8[], $6::text[], $7::text[])
      WITH ORDINALITY AS i (model_id, priority, max_attempts, delay, kind, options, place)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, kind, options,
              0 AS attempt
), ranked AS (
    SELECT *, due_at - priority * interval '60 seconds' AS rank, due_at <= now() AND kind IS NULL AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row) AS is_due
      FROM created
), numbered AS MATERIALIZED (
    SELECT *, (row_number() OVER (ORDER BY is_due DESC, rank, job_id))::int AS position FROM ranked
), number AS MATERIALIZED (
    SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM numbered WHERE is_due)
), leased AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
    SELECT job_id, (SELECT lease_seq FROM number), model_id, ($8::bigint[])[position], now(),
           now() + ($9::int[])[position] * interval '1 second', $10, 1
      FROM numbered WHERE is_due AND position <= cardinality($8)
), queued AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN due_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, due_at, model_id, created_at,
           priority, max_attempts, 0, model_hash, kind, CASE WHEN kind IS NOT NULL THEN due_at - priority * interval '60 seconds' END, options
      FROM numbered WHERE NOT (is_due AND position <= cardinality($8))
), 
news AS (
    SELECT count(*) AS count, (count(*))::bigint AS jobs, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM created
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, jobs = h.jobs + news.jobs
      FROM news WHERE news.count > 0 OR news.jobs <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT now() AS claimed_at, (SELECT lease_seq FROM number) AS lease_seq,
       count(*) FILTER (WHERE is_due) AS due, array_agg(job_id) AS job_ids,
       array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes, array_agg(priority) AS priorities,
       array_agg(max_attempts) AS max_attempts,
       array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
       array_agg(options) FILTER (WHERE options IS NOT NULL) AS options
  FROM (SELECT * FROM numbered ORDER BY position) n;

-- enqueue_one: $1 model_id, $2 model_hash, $3 priority, $4 max_attempts, $5 delay, $6 kind, $7 options, $8 session, $9 lease_seconds, $10 claim_id
PREPARE enqueue_one (bigint, bytea, smallint, smallint, double precision, text, text, bigint, integer, bigint) AS
WITH created AS (
    INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
    VALUES ($1::bigint, $2::bytea, $3::smallint, $4::smallint, now() + $5::float8 * interval '1 second', $6::text,
            $7::text)
    ON CONFLICT (model_id, model_hash) DO NOTHING
    RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, due_at, created_at, kind, options,
              $8::bigint IS NOT NULL AND due_at <= now() AND kind IS NULL AND NOT EXISTS (SELECT FROM queue_pause WHERE only_row) AS is_taken
), leased AS (
    INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
    SELECT job_id, nextval('claim_seq'), $1, $8, now(), now() + $9::int * interval '1 second', $10::bigint, 1
      FROM created WHERE is_taken
    RETURNING lease_seq
), queued AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN due_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, due_at, model_id, created_at,
           priority, max_attempts, 0, model_hash, kind, CASE WHEN kind IS NOT NULL THEN due_at - priority * interval '60 seconds' END, options
      FROM created WHERE NOT is_taken
), head AS (
    UPDATE queue_head SET seq = seq + 1, jobs = jobs + 1 WHERE EXISTS (SELECT FROM created) RETURNING seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
    SELECT seq, seq, 'Pending', ARRAY[$1], ARRAY[job_id], ARRAY[0::smallint] FROM head, created
)
SELECT job_id, now() AS claimed_at, (SELECT lease_seq FROM leased) AS lease_seq FROM created;

-- extend: $1 job_ids, $2 group_seconds, $3 group_lease_seqs, $4 group_firsts, $5 group_lasts
PREPARE extend (bigint[], double precision[], bigint[], integer[], integer[]) AS
UPDATE leases l SET expires_at = now() + g.seconds * interval '1 second'
  FROM unnest($2::float8[], $3::bigint[], $4::int[], $5::int[]) AS g (seconds, lease_seq, first, last)
 WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq])
RETURNING l.job_id, l.lease_seq, l.expires_at;

-- fail: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts, $5 lease_seqs, $6 error_messages, $7 retryable, $8 retry_delays, $9 jitters, $10 backoffs
PREPARE fail (bigint[], bigint[], integer[], integer[], bigint[], text[], boolean[], double precision[], double precision[], double precision[]) AS
WITH gone AS (
    DELETE FROM leases l USING unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last) WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq]) RETURNING l.*, g.lease_seq AS named_seq
), ended AS MATERIALIZED (

    SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash,
           CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
           CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options, NULL::text AS path, NULL::bigint AS size_bytes,
           NULL::int AS width, NULL::int AS height, i.error_message AS error_message,
           g.rerun_request_no IS NOT NULL OR (i.retryable AND g.attempt < j.max_attempts) AS will_retry,
           now() + CASE WHEN g.rerun_request_no IS NULL THEN make_interval(secs => coalesce(i.retry_delay, ($10::float8[])[g.attempt] * i.jitter)) ELSE '0' END AS next_run_at
      FROM gone g JOIN jobs j ON j.id = g.job_id 
      JOIN unnest($1::bigint[], $5::bigint[], $6::text[], $7::bool[], $8::float8[], $9::float8[])
        AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
        ON i.job_id = g.job_id AND i.lease_seq = g.named_seq

), newest AS (
    SELECT DISTINCT ON (model_id) * FROM ended ORDER BY model_id, request_no DESC
), before AS MATERIALIZED (
    SELECT DISTINCT ON (j.model_id) j.model_id, coalesce(a.request_no, j.request_no) AS request_no
      FROM jobs j JOIN attempts a ON a.job_id = j.id
     WHERE j.model_id = ANY (ARRAY (SELECT model_id FROM newest)) AND a.end_no IS NOT NULL
     ORDER BY j.model_id, a.end_no DESC
), shown AS MATERIALIZED (
    SELECT n.*, CASE WHEN will_retry THEN next_run_at END AS next_attempt_at
      FROM newest n LEFT JOIN before b USING (model_id)
     WHERE b.request_no IS NULL OR b.request_no <= n.request_no
), number AS MATERIALIZED (
    SELECT nextval('end_seq') AS end_no
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                          height, error_message, next_attempt_at, request_no, dead)
    SELECT job_id, lease_seq,
           CASE WHEN job_id IN (SELECT job_id FROM shown) THEN (SELECT end_no FROM number) END,
           attempt, 'Failed', session, claimed_at, path, size_bytes, width, height, error_message,
           CASE WHEN will_retry THEN next_run_at END, CASE WHEN rerun_request_no IS NOT NULL THEN request_no END,
           CASE WHEN NOT will_retry THEN true END
      FROM ended
), frozen AS (
    UPDATE attempts a SET request_no = e.request_no
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND j.id = e.job_id
), again AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN next_run_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, next_run_at, model_id, created_at,
           priority, max_attempts, CASE WHEN rerun_request_no IS NULL THEN attempt ELSE 0 END, model_hash, kind, CASE WHEN kind IS NOT NULL THEN next_run_at - priority * interval '60 seconds' END, options
      FROM ended WHERE will_retry
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Failed', count(*) FROM ended WHERE job_id NOT IN (SELECT job_id FROM shown) HAVING count(*) > 0
), 
news AS (
    SELECT count(*) AS count, (SELECT count(*) FROM ended WHERE NOT will_retry)::bigint AS failed, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           array_agg(error_message) AS error_messages, array_agg(next_attempt_at) AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, failed = h.failed + news.failed
      FROM news WHERE news.count > 0 OR news.failed <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Failed', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id, named_seq, model_id, session,
       CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
  FROM ended;

-- expire_find: $1 limit
PREPARE expire_find (bigint) AS
SELECT job_id, lease_seq FROM leases WHERE expires_at <= now()
 ORDER BY lease_seq, job_id LIMIT $1 FOR UPDATE SKIP LOCKED;

-- expire: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts, $5 backoffs, $6 jitter
PREPARE expire (bigint[], bigint[], integer[], integer[], double precision[], double precision) AS
WITH gone AS (
    DELETE FROM leases l USING unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last) WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq]) AND l.expires_at <= now()
    RETURNING l.*, g.lease_seq AS named_seq
), ended AS MATERIALIZED (

    SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash,
           CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
           CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options, NULL::text AS path, NULL::bigint AS size_bytes,
           NULL::int AS width, NULL::int AS height, 'Lease expired: worker ' || coalesce(w.worker_id, '?') || ' stopped responding' AS error_message,
           g.rerun_request_no IS NOT NULL OR (true AND g.attempt < j.max_attempts) AS will_retry,
           now() + CASE WHEN g.rerun_request_no IS NULL THEN make_interval(secs => ($5::float8[])[g.attempt] * $6) ELSE '0' END AS next_run_at
      FROM gone g JOIN jobs j ON j.id = g.job_id LEFT JOIN workers w ON w.id = g.session

), newest AS (
    SELECT DISTINCT ON (model_id) * FROM ended ORDER BY model_id, request_no DESC
), before AS MATERIALIZED (
    SELECT DISTINCT ON (j.model_id) j.model_id, coalesce(a.request_no, j.request_no) AS request_no
      FROM jobs j JOIN attempts a ON a.job_id = j.id
     WHERE j.model_id = ANY (ARRAY (SELECT model_id FROM newest)) AND a.end_no IS NOT NULL
     ORDER BY j.model_id, a.end_no DESC
), shown AS MATERIALIZED (
    SELECT n.*, CASE WHEN will_retry THEN next_run_at END AS next_attempt_at
      FROM newest n LEFT JOIN before b USING (model_id)
     WHERE b.request_no IS NULL OR b.request_no <= n.request_no
), number AS MATERIALIZED (
    SELECT nextval('end_seq') AS end_no
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                          height, error_message, next_attempt_at, request_no, dead)
    SELECT job_id, lease_seq,
           CASE WHEN job_id IN (SELECT job_id FROM shown) THEN (SELECT end_no FROM number) END,
           attempt, 'Failed', session, claimed_at, path, size_bytes, width, height, error_message,
           CASE WHEN will_retry THEN next_run_at END, CASE WHEN rerun_request_no IS NOT NULL THEN request_no END,
           CASE WHEN NOT will_retry THEN true END
      FROM ended
), frozen AS (
    UPDATE attempts a SET request_no = e.request_no
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND j.id = e.job_id
), again AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN next_run_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, next_run_at, model_id, created_at,
           priority, max_attempts, CASE WHEN rerun_request_no IS NULL THEN attempt ELSE 0 END, model_hash, kind, CASE WHEN kind IS NOT NULL THEN next_run_at - priority * interval '60 seconds' END, options
      FROM ended WHERE will_retry
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Expired', count(*) FROM ended  HAVING count(*) > 0
), 
news AS (
    SELECT count(*) AS count, (SELECT count(*) FROM ended WHERE NOT will_retry)::bigint AS failed, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           array_agg(error_message) AS error_messages, array_agg(next_attempt_at) AS next_attempt_ats
      FROM shown
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, failed = h.failed + news.failed
      FROM news WHERE news.count > 0 OR news.failed <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats, counted_apart)
    SELECT head.seq, head.seq - news.count + 1, 'Failed', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats, true
      FROM head, news WHERE news.count > 0
)
SELECT job_id, named_seq, model_id, session,
       CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
  FROM ended;

-- forget_find: $1 model_id
PREPARE forget_find (bigint) AS
SELECT id, status FROM job_states WHERE model_id = $1 ORDER BY id;

-- forget: $1 job_ids, $2 model_id
PREPARE forget (bigint[], bigint) AS
WITH gone AS MATERIALIZED (
    SELECT s.id, s.status, s.lease_seq, l.session
      FROM job_states s LEFT JOIN LATERAL (SELECT session FROM leases WHERE job_id = s.id OFFSET 0) l ON true
     WHERE s.id = ANY ($1)
), unready AS (
    DELETE FROM ready WHERE ctid = ANY (ARRAY (SELECT r.ctid
          FROM unnest($1::bigint[]) AS i (job_id)
         CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
         CROSS JOIN LATERAL (
            SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE  OFFSET 0) r))
), unleased AS (
    DELETE FROM leases WHERE job_id = ANY ($1)
), without_events AS (
    DELETE FROM job_events WHERE job_id = ANY ($1)
), without_traces AS (
    DELETE FROM job_traces WHERE job_id = ANY ($1)
), without_versions AS (
    DELETE FROM model_versions WHERE model_id = $2
), pictures AS (
    DELETE FROM attempts WHERE job_id = ANY ($1) RETURNING path, ended_at
), listed AS (
    INSERT INTO removals (path, reported_at)
    SELECT path, max(ended_at) FROM pictures WHERE path <> '' GROUP BY path
    RETURNING path
), without_jobs AS (
    DELETE FROM jobs WHERE id = ANY ($1)
), head AS (
    UPDATE queue_head h
       SET seq = h.seq + 1, jobs = h.jobs - c.count, completed = h.completed - c.completed,
           failed = h.failed - c.failed, cancelled = h.cancelled - c.cancelled
      FROM (SELECT count(*) AS count, count(*) FILTER (WHERE status = 'Completed') AS completed,
                   count(*) FILTER (WHERE status = 'Failed') AS failed,
                   count(*) FILTER (WHERE status = 'Cancelled') AS cancelled FROM gone) c
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
    SELECT seq, seq, 'None', ARRAY[$2], ARRAY[(SELECT max(id) FROM gone)], ARRAY[0::smallint] FROM head
)
SELECT id, session, lease_seq, (SELECT count(*) FROM listed) AS pictures FROM gone ORDER BY id;

-- held_numbers: $1 job_ids
PREPARE held_numbers (bigint[]) AS
SELECT job_id, lease_seq FROM leases WHERE job_id = ANY ($1);

-- order_find_models: $1 model_ids
PREPARE order_find_models (bigint[]) AS
SELECT s.id AS job_id, s.model_id, s.model_hash, greatest(s.request_no, l.rerun_request_no) AS request_no, s.status,
       s.id IS NOT DISTINCT FROM i.shown AS shown
  FROM (SELECT model_id, (SELECT job_id FROM thumbnails t WHERE t.model_id = i.model_id) AS shown
          FROM unnest($1::bigint[]) AS i (model_id) OFFSET 0) i
 CROSS JOIN LATERAL (SELECT * FROM job_states WHERE model_id = i.model_id OFFSET 0) s
  LEFT JOIN LATERAL (SELECT rerun_request_no FROM leases WHERE job_id = s.id OFFSET 0) l ON true;

-- release: $1 job_ids, $2 group_lease_seqs, $3 group_firsts, $4 group_lasts
PREPARE release (bigint[], bigint[], integer[], integer[]) AS
WITH gone AS (
    DELETE FROM leases l USING unnest($2::bigint[], $3::int[], $4::int[]) AS g (lease_seq, first, last) WHERE l.job_id = ANY (($1::bigint[])[g.first:g.last]) AND l.lease_seq = ANY (ARRAY[g.lease_seq])
    RETURNING l.*, g.lease_seq AS named_seq
), ended AS MATERIALIZED (
    SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash, CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
           CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options, p.run_at
      FROM gone g JOIN jobs j ON j.id = g.job_id
     CROSS JOIN LATERAL (SELECT run_at FROM places WHERE job_id = g.job_id OFFSET 0) p
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, attempt, outcome, session, claimed_at, next_attempt_at, request_no)
    SELECT job_id, lease_seq, attempt, 'Released', session, claimed_at, run_at,
           CASE WHEN rerun_request_no IS NOT NULL THEN request_no END
      FROM ended
), frozen AS (
    UPDATE attempts a SET request_no = e.request_no
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
      FROM (SELECT e.job_id, e.rerun_request_no, e.kind, e.options FROM ended e JOIN jobs ON jobs.id = e.job_id
             WHERE e.rerun_request_no IS NOT NULL ORDER BY jobs.id FOR UPDATE OF jobs) e
     WHERE j.id = e.job_id
), again AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN run_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, run_at, model_id, created_at,
           priority, max_attempts, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, model_hash, kind, CASE WHEN kind IS NOT NULL THEN run_at - priority * interval '60 seconds' END, options
      FROM ended 
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Released', count(*) FROM ended  HAVING count(*) > 0
)
SELECT job_id, named_seq FROM ended;

-- release_claim: $1 claim_id
PREPARE release_claim (bigint) AS
WITH gone AS (
    DELETE FROM leases l WHERE l.job_id = ANY (ARRAY (
        SELECT job_id FROM leases WHERE claim_id = $1 ORDER BY lease_seq, job_id FOR UPDATE)) AND l.claim_id = $1
    RETURNING l.*, l.lease_seq AS named_seq
), ended AS MATERIALIZED (
    SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash, CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
           CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options, p.run_at
      FROM gone g JOIN jobs j ON j.id = g.job_id
     CROSS JOIN LATERAL (SELECT run_at FROM places WHERE job_id = g.job_id OFFSET 0) p
), recorded AS (
    INSERT INTO attempts (job_id, lease_seq, attempt, outcome, session, claimed_at, next_attempt_at, request_no)
    SELECT job_id, lease_seq, attempt, 'Released', session, claimed_at, run_at,
           CASE WHEN rerun_request_no IS NOT NULL THEN request_no END
      FROM ended
), frozen AS (
    UPDATE attempts a SET request_no = e.request_no
      FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
), renumbered AS (
    UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
      FROM (SELECT e.job_id, e.rerun_request_no, e.kind, e.options FROM ended e JOIN jobs ON jobs.id = e.job_id
             WHERE e.rerun_request_no IS NOT NULL ORDER BY jobs.id FOR UPDATE OF jobs) e
     WHERE j.id = e.job_id
), again AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN run_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, run_at, model_id, created_at,
           priority, max_attempts, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, model_hash, kind, CASE WHEN kind IS NOT NULL THEN run_at - priority * interval '60 seconds' END, options
      FROM ended 
), counted AS (
    INSERT INTO other_ends (outcome, count)
    SELECT 'Released', count(*) FROM ended  HAVING count(*) > 0
)
SELECT job_id, named_seq FROM ended;

-- retry_find: $1 job_ids
PREPARE retry_find (bigint[]) AS
SELECT id AS job_id, status, attempt_count, request_no, lease_seq, priority, max_attempts, run_at,
       nullif(kind, 'Model') AS kind, options
  FROM job_records WHERE id = ANY ($1) ORDER BY id;

-- revive_reset: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays, $7 run_ats, $8 kinds, $9 options
PREPARE revive_reset (bigint[], bigint[], bigint[], smallint[], smallint[], double precision[], timestamp with time zone[], text[], text[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::float8[],
                         $7::timestamptz[], $8::text[], $9::text[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay, run_at, kind, options)
), before AS (
    SELECT i.*, j.request_no AS old_request_no FROM jobs j JOIN input i ON j.id = i.job_id
     WHERE j.request_no = i.request_no ORDER BY j.id FOR UPDATE OF j
), changed AS (
    UPDATE jobs j SET request_no = nextval('request_seq'), since = b.lease_seq, priority = b.priority,
           max_attempts = b.max_attempts, due_at = now() + b.delay * interval '1 second', reset_at = now(),
           kind = b.kind, options = b.options
      FROM before b WHERE j.id = b.job_id
    RETURNING j.id AS job_id, j.model_id, j.model_hash, j.priority, j.max_attempts, j.created_at, j.due_at,
              j.kind, j.options, b.old_request_no, 0 AS attempt,
              (SELECT outcome FROM attempts a WHERE a.job_id = b.job_id AND a.lease_seq = b.lease_seq) AS outcome
), frozen AS (
    UPDATE attempts a SET request_no = coalesce(a.request_no, c.old_request_no), dead = NULL
      FROM changed c WHERE a.job_id = c.job_id AND (a.request_no IS NULL OR a.dead)
), queued AS (
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                       kind, kind_rank, options)
    SELECT CASE WHEN kind IS NULL THEN due_at - priority * interval '60 seconds' ELSE 'infinity' END, job_id, due_at, model_id, created_at,
           priority, max_attempts, 0, model_hash, kind, CASE WHEN kind IS NOT NULL THEN due_at - priority * interval '60 seconds' END, options
      FROM changed 
), 
news AS (
    SELECT count(*) AS count, (-(SELECT count(*) FROM changed WHERE outcome = 'Completed'))::bigint AS completed, (-(SELECT count(*) FROM changed WHERE outcome = 'Failed'))::bigint AS failed, (-(SELECT count(*) FROM changed WHERE outcome = 'Cancelled'))::bigint AS cancelled, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM changed
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed, failed = h.failed + news.failed, cancelled = h.cancelled + news.cancelled
      FROM news WHERE news.count > 0 OR news.completed <> 0 OR news.failed <> 0 OR news.cancelled <> 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id FROM changed;

-- revive_restart: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays, $7 run_ats, $8 kinds, $9 options
PREPARE revive_restart (bigint[], bigint[], bigint[], smallint[], smallint[], double precision[], timestamp with time zone[], text[], text[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::float8[],
                         $7::timestamptz[], $8::text[], $9::text[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay, run_at, kind, options)
), restarted AS (
    UPDATE ready r SET attempt = 0, run_at = now() + make_interval(secs => i.delay), priority = i.priority,
           max_attempts = i.max_attempts, kind = i.kind, options = i.options,
           rank = CASE WHEN i.kind IS NULL THEN (now() + make_interval(secs => i.delay)) - i.priority * interval '60 seconds' ELSE 'infinity' END,
           kind_rank = CASE WHEN i.kind IS NOT NULL THEN (now() + make_interval(secs => i.delay)) - i.priority * interval '60 seconds' END
      FROM (SELECT i.*, found.ctid
              FROM input i
             CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
             CROSS JOIN LATERAL (
                SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE OFFSET 0) found) i
     WHERE r.ctid = i.ctid AND r.job_id = i.job_id AND r.run_at = i.run_at
       AND i.lease_seq = greatest((SELECT max(lease_seq) FROM attempts WHERE job_id = i.job_id), 0)
       AND (r.attempt > 0 OR (r.kind, r.options) IS DISTINCT FROM (i.kind, i.options))
    RETURNING r.job_id, i.priority, i.max_attempts, i.kind, i.options, r.run_at, i.lease_seq
), changed AS (
    UPDATE jobs j SET request_no = nextval('request_seq'), since = r.lease_seq, priority = r.priority,
           max_attempts = r.max_attempts, due_at = r.run_at, reset_at = now(), kind = r.kind, options = r.options
      FROM (SELECT r.*, jobs.request_no AS old_request_no
              FROM restarted r JOIN jobs ON jobs.id = r.job_id ORDER BY jobs.id FOR UPDATE OF jobs) r
     WHERE j.id = r.job_id
    RETURNING j.id AS job_id, j.model_id, r.old_request_no, 0 AS attempt
), frozen AS (
    UPDATE attempts a SET request_no = coalesce(a.request_no, c.old_request_no), dead = NULL
      FROM changed c WHERE a.job_id = c.job_id AND (a.request_no IS NULL OR a.dead)
), 
news AS (
    SELECT count(*) AS count, array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
           array_agg(attempt)::smallint[] AS attempt_counts,
           NULL::text[] AS error_messages, NULL::timestamptz[] AS next_attempt_ats
      FROM changed
), head AS (
    UPDATE queue_head h SET seq = h.seq + news.count
      FROM news WHERE news.count > 0
    RETURNING h.seq
), logged AS (
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                               error_messages, next_attempt_ats)
    SELECT head.seq, head.seq - news.count + 1, 'Pending', news.model_ids, news.job_ids, news.attempt_counts,
           news.error_messages, news.next_attempt_ats
      FROM head, news WHERE news.count > 0
)
SELECT job_id FROM changed;

-- revive_rerun: $1 job_ids, $2 request_nos, $3 lease_seqs, $4 priorities, $5 max_attempts, $6 delays, $7 run_ats, $8 kinds, $9 options
PREPARE revive_rerun (bigint[], bigint[], bigint[], smallint[], smallint[], double precision[], timestamp with time zone[], text[], text[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::float8[],
                         $7::timestamptz[], $8::text[], $9::text[])
        AS i (job_id, request_no, lease_seq, priority, max_attempts, delay, run_at, kind, options)
), held AS MATERIALIZED (
    SELECT l.job_id FROM leases l JOIN input i ON l.job_id = i.job_id AND l.lease_seq = i.lease_seq
     ORDER BY l.lease_seq, l.job_id FOR UPDATE OF l
)
UPDATE leases l SET rerun_request_no = nextval('request_seq'), rerun_kind = i.kind, rerun_options = i.options
  FROM input i
 WHERE l.job_id = ANY (ARRAY (SELECT job_id FROM held)) AND i.job_id = l.job_id
RETURNING l.job_id;

-- revive_renew: $1 job_ids, $2 request_nos
PREPARE revive_renew (bigint[], bigint[]) AS
WITH input AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS i (job_id, request_no, place)
), marked AS MATERIALIZED (
    SELECT l.job_id FROM leases l JOIN input i ON l.job_id = i.job_id
     WHERE l.rerun_request_no = i.request_no ORDER BY l.lease_seq, l.job_id FOR UPDATE OF l
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs j JOIN input i ON j.id = i.job_id
     WHERE j.request_no = i.request_no ORDER BY j.id FOR UPDATE OF j
), numbered AS MATERIALIZED (
    SELECT job_id, is_marked, nextval('request_seq') AS request_no
      FROM (SELECT i.*, job_id IN (SELECT job_id FROM marked) AS is_marked FROM input i ORDER BY place) i
     WHERE is_marked OR job_id IN (SELECT id FROM locked)
), remarked AS (
    UPDATE leases l SET rerun_request_no = n.request_no
      FROM numbered n WHERE n.is_marked AND l.job_id = n.job_id
), renewed AS (
    UPDATE jobs j SET request_no = n.request_no
      FROM numbered n WHERE NOT n.is_marked AND j.id = n.job_id
), followed AS (
    UPDATE attempts a SET request_no = NULL
      FROM numbered n
     WHERE NOT n.is_marked AND a.job_id = n.job_id AND a.request_no IS NOT NULL AND a.outcome = 'Completed'
)
SELECT job_id FROM numbered;

-- revive_find: $1 model_ids, $2 model_hashes
PREPARE revive_find (bigint[], bytea[]) AS
SELECT s.id AS job_id, s.model_id, s.model_hash, s.status, s.attempt_count, s.lease_seq, s.request_no, s.run_at,
       CASE WHEN r.kind IS NULL THEN s.kind ELSE r.kind END AS kind,
       CASE WHEN r.kind IS NULL THEN s.options ELSE r.options END AS options, t.job_id IS NOT NULL AS shown,
       (SELECT bool_and(greatest(o.request_no, (SELECT rerun_request_no FROM leases WHERE job_id = o.id))
                        < greatest(s.request_no, r.request_no))
          FROM jobs o WHERE o.model_id = s.model_id AND o.id <> s.id) IS NOT FALSE AS newest
  FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
 CROSS JOIN LATERAL (
    SELECT * FROM job_records WHERE model_id = i.model_id AND model_hash = i.model_hash OFFSET 0) s
  LEFT JOIN LATERAL (
    SELECT job_id, status FROM thumbnails WHERE model_id = i.model_id OFFSET 0) t
    ON t.job_id = s.id AND t.status = 'Ready'
  LEFT JOIN LATERAL (
    SELECT rerun_request_no AS request_no, coalesce(rerun_kind, 'Model') AS kind, rerun_options AS options
      FROM leases WHERE job_id = s.id AND rerun_request_no IS NOT NULL OFFSET 0) r ON true;

-- completed_leases: $1 job_ids, $2 lease_seqs
PREPARE completed_leases (bigint[], bigint[]) AS
SELECT i.job_id, i.lease_seq FROM unnest($1::bigint[], $2::bigint[]) AS i (job_id, lease_seq)
 WHERE (SELECT outcome FROM attempts WHERE job_id = i.job_id AND lease_seq = i.lease_seq) = 'Completed';

-- workers_register: $1 worker_id, $2 session_id, $3 version, $4 labels
PREPARE workers_register (text, text, text, jsonb) AS
INSERT INTO workers AS w (worker_id, session_id, version, labels) VALUES ($1, $2, $3, $4)
ON CONFLICT (worker_id, session_id) DO UPDATE SET last_seen_at = now(), version = $3, labels = $4
RETURNING id;

-- workers_confirm: $1 sessions, $2 seconds_ago, $3 lease_seconds
PREPARE workers_confirm (bigint[], double precision[], double precision) AS
UPDATE leases l SET expires_at = greatest(l.expires_at, l.claimed_at + $3::float8 * interval '1 second')
 WHERE l.job_id = ANY (ARRAY (
    SELECT h.job_id FROM unnest($1::bigint[], $2::float8[]) AS i (session, seconds_ago)
      JOIN workers w ON w.id = i.session AND w.session_id = ''
      JOIN leases h ON h.session = i.session AND h.claimed_at < now() - i.seconds_ago * interval '1 second'
     ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h));

-- workers_prune: $1 gone_seconds, $2 limit
PREPARE workers_prune (double precision, bigint) AS
WITH pruned AS (
    DELETE FROM workers WHERE id = ANY (ARRAY (
        SELECT id FROM workers w
         WHERE last_seen_at < now() - make_interval(secs => $1)
           AND NOT EXISTS (SELECT FROM leases l WHERE l.session = w.id)
         LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT count(*) AS count FROM pruned;

-- workers_record: $1 sessions, $2 heard, $3 completed, $4 failed
PREPARE workers_record (bigint[], boolean[], bigint[], bigint[]) AS
UPDATE workers w
   SET last_seen_at = CASE WHEN n.heard THEN now() ELSE w.last_seen_at END,
       completed = w.completed + n.completed, failed = w.failed + n.failed,
       completed_per_minute = CASE WHEN n.minutes < 1 THEN w.completed_per_minute * (1 - n.minutes) + n.completed
                                   ELSE n.completed / n.minutes END,
       counted_at = now()
  FROM (SELECT k.id, i.heard, i.completed, i.failed,
               greatest(extract(epoch FROM now() - coalesce(k.counted_at, k.first_seen_at))::float8, 0) / 60
                 AS minutes
          FROM unnest($1::bigint[], $2::bool[], $3::bigint[], $4::bigint[])
            AS i (session, heard, completed, failed) JOIN workers k ON k.id = i.session
         ORDER BY k.id FOR UPDATE OF k) n
 WHERE w.id = n.id;
