# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# A server (not a task, which loads lazily) shows at start that it reaches PostgreSQL, and forks without a connection.
Rails.application.config.after_initialize do |app|
  next unless app.config.eager_load

  ActiveRecord::Base.connection.verify!
  ActiveRecord::Base.connection_handler.clear_all_connections!
end
