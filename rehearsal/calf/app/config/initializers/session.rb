# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

Rails.application.config.session_store :cookie_store, key: "_mastodon_session", secure: Calf::Settings.https?, same_site: :lax
