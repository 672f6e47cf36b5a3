# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  # Where the build put an asset. Without a build there is no page.
  module Packs
    MANIFEST = Rails.public_path.join("packs/.vite/manifest.json")
    MissingEntry = Class.new(StandardError)

    def self.path(name)
      @manifest ||= JSON.parse(MANIFEST.read)
      "/packs/#{@manifest.fetch(name).fetch("file")}"
    rescue Errno::ENOENT, KeyError
      raise MissingEntry, "#{name} is not in #{MANIFEST}: run assets:precompile"
    end
  end
end
