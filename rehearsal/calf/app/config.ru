# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require_relative "config/environment"

run Rails.application
