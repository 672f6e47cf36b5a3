// SPDX-License-Identifier: GPL-3.0-or-later

import pg from 'pg';

const TLS_MODES = { disable: false, prefer: false, require: { rejectUnauthorized: false }, 'no-verify': { rejectUnauthorized: false } };

const settings = (env) => (env.DATABASE_URL ? { connectionString: env.DATABASE_URL } : {
  host: env.DB_HOST || 'localhost',
  port: Number(env.DB_PORT || 5432),
  database: env.DB_NAME || 'mastodon_production',
  user: env.DB_USER || 'mastodon',
  password: env.DB_PASS,
  ssl: TLS_MODES[env.DB_SSLMODE || 'prefer'] ?? true,
});

// Connects when first asked; an idle connection that breaks is replaced.
export const pool = (env) => {
  const made = new pg.Pool({
    ...settings(env), max: Number(env.DB_POOL || 10), connectionTimeoutMillis: 15_000, application_name: '',
  });
  made.on('error', () => {});
  return made;
};

const TOKEN_SQL = `
  SELECT oauth_access_tokens.id AS token_id, oauth_access_tokens.scopes, users.account_id
  FROM oauth_access_tokens JOIN users ON users.id = oauth_access_tokens.resource_owner_id
  WHERE oauth_access_tokens.token = $1 AND oauth_access_tokens.revoked_at IS NULL AND NOT users.disabled
    AND (expires_in IS NULL OR oauth_access_tokens.created_at + expires_in * interval '1 second' > now() at time zone 'utc')`;

export const accountOf = async (database, token) => {
  const { rows: [row] } = await database.query(TOKEN_SQL, [token]);
  return row && { id: row.account_id, tokenId: row.token_id, scopes: (row.scopes ?? '').split(' ') };
};

const BLOCKS_SQL = `
  SELECT 1 FROM blocks
  WHERE (account_id = $1 AND target_account_id = $2) OR (account_id = $2 AND target_account_id = $1)`;

export const blockedBetween = async (database, one, other) =>
  (await database.query(BLOCKS_SQL, [one, other])).rowCount > 0;
