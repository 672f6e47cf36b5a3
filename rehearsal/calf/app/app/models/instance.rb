# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Known instances with their number of accounts: a materialised view, which only its owner can refresh.
class Instance < ApplicationRecord
  self.primary_key = :domain

  def self.refresh
    connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY instances")
  end
end
