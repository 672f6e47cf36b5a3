# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Print "data" when somebody has an account, "begun" when any other table holds a row, and "empty" otherwise. A schema
# whose loading was interrupted is still empty; a backup whose restoring was interrupted is not.
require "dotenv"
require "pg"

Dotenv.load(".env.production")
db = PG.connect(
  host: ENV["DB_HOST"], port: ENV["DB_PORT"], dbname: ENV["DB_NAME"], user: ENV["DB_USER"], password: ENV["DB_PASS"],
  sslmode: ENV.fetch("DB_SSLMODE", "prefer")
)
tables = db.exec("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'").column_values(0)
filled = tables.select { |table| db.exec("SELECT FROM #{table} LIMIT 1").ntuples.positive? }
puts filled.include?("users") ? "data" : filled.any? ? "begun" : "empty"
