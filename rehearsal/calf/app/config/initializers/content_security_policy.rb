# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

Rails.application.config.content_security_policy do |policy|
  streaming = ENV["STREAMING_API_BASE_URL"].presence || "wss://#{Calf::Settings.web_domain}"
  media = [Calf::MediaStore::Disk.host, Calf::MediaStore.current.host].uniq

  policy.default_src :none
  policy.frame_ancestors :none
  policy.base_uri :none
  policy.img_src :self, :data, :blob, *media
  policy.media_src :self, :data, *media
  policy.style_src :self
  policy.script_src :self
  policy.worker_src :self, :blob
  policy.connect_src :self, :blob, *media, streaming
  policy.form_action :self
  policy.manifest_src :self
end
