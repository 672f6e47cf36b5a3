# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

abort "RAILS_ENV is not set. Say which environment is meant, for example: RAILS_ENV=production" unless ENV.key?("RAILS_ENV")

ENV["BUNDLE_GEMFILE"] ||= File.expand_path("../Gemfile", __dir__)

require "bundler/setup"
require "bootsnap/setup"
