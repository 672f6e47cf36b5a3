-- SPDX-License-Identifier: GPL-3.0-or-later
-- What stands between the files and what is in force, on a primary and on a standby. No row: nothing does.
SELECT 'restart' AS kind, name AS message
  FROM pg_settings WHERE pending_restart
UNION ALL
SELECT 'overridden',
       name || ' comes from ' || coalesce(sourcefile || ' line ' || sourceline, source)
            || ' (ALTER SYSTEM RESET ' || name || ', or set it in the inventory)'
  FROM pg_settings
 WHERE name = ANY(string_to_array(%(names)s, ',')) AND NOT pending_restart AND sourcefile IS DISTINCT FROM %(file)s
   -- What only a start sets, and is said to be what it was by default, PostgreSQL goes on calling its default.
   AND NOT (context = 'postmaster' AND source = 'default')
UNION ALL
SELECT 'error', sourcefile || ' line ' || sourceline || ': ' || error
  FROM pg_file_settings
 WHERE error IS NOT NULL AND name NOT IN (SELECT name FROM pg_settings WHERE pending_restart)
UNION ALL
SELECT 'error', file_name || ' line ' || line_number || ': ' || error
  FROM pg_hba_file_rules WHERE error IS NOT NULL
UNION ALL
SELECT 'waiting', ''
 WHERE pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')
UNION ALL
SELECT 'missing', 'role' WHERE NOT pg_is_in_recovery() AND NOT EXISTS (
  SELECT FROM pg_authid
   WHERE rolname = %(role)s
     AND encode(sha256(rolpassword::bytea), 'hex') = %(verifier_sha256)s
     AND rolcanlogin
     AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
     AND rolconnlimit = %(connection_limit)s
     AND (SELECT array_agg(line ORDER BY line)
            FROM pg_db_role_setting, unnest(setconfig) AS line
           WHERE setrole = pg_authid.oid AND setdatabase = 0) = string_to_array(%(configuration)s, ','))
UNION ALL
SELECT 'missing', 'database' WHERE NOT pg_is_in_recovery() AND NOT EXISTS (
  SELECT FROM pg_database
   WHERE datname = %(database)s
     AND pg_get_userbyid(datdba) = %(role)s
     AND pg_encoding_to_char(encoding) = 'UTF8'
     AND NOT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0))
UNION ALL
SELECT 'missing', 'monitoring' WHERE NOT pg_is_in_recovery() AND %(monitoring_role)s <> '' AND NOT EXISTS (
  SELECT FROM pg_authid
   WHERE rolname = %(monitoring_role)s
     AND rolcanlogin
     AND rolpassword IS NULL
     AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
     AND rolconnlimit = %(monitoring_connection_limit)s
     AND (SELECT array_agg(line ORDER BY line)
            FROM pg_db_role_setting, unnest(setconfig) AS line
           WHERE setrole = pg_authid.oid AND setdatabase = 0) = string_to_array(%(monitoring_configuration)s, ',')
     AND pg_has_role(oid, 'pg_monitor', 'USAGE')
     AND EXISTS (SELECT FROM pg_database
                  WHERE datname = %(database)s AND has_database_privilege(pg_authid.oid, pg_database.oid, 'CONNECT')))
UNION ALL
SELECT 'missing', 'replication' WHERE NOT pg_is_in_recovery() AND %(slots)s <> '' AND NOT EXISTS (
  SELECT FROM pg_authid
   WHERE rolname = %(replication_role)s
     AND encode(sha256(rolpassword::bytea), 'hex') = %(replication_verifier_sha256)s
     AND rolcanlogin AND rolreplication
     AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls))
UNION ALL
SELECT 'missing', 'replication'
  FROM unnest(string_to_array(%(slots)s, ',')) AS wanted
 WHERE NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = wanted)
UNION ALL
SELECT CASE WHEN slot_name = ANY(string_to_array(%(slots)s, ',')) THEN 'lost' ELSE 'unused' END, slot_name
  FROM pg_replication_slots
 WHERE NOT pg_is_in_recovery() AND slot_type = 'physical' AND NOT temporary AND NOT active
   AND (wal_status = 'lost' OR slot_name <> ALL (string_to_array(%(slots)s, ',')))
