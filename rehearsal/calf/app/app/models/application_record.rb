# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
  self.inheritance_column = nil

  connects_to database: { writing: :primary, reading: Calf::Settings.replica? ? :replica : :primary }

  # Reads of the block go to the replica where there is one, and fail with it.
  def self.on_replica(&block)
    Calf::Settings.replica? ? ApplicationRecord.connected_to(role: :reading, prevent_writes: true, &block) : yield
  end
end
