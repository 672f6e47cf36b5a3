# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class MediaAttachment < ApplicationRecord
  IMAGE_LIMIT = 16.megabytes
  VIDEO_LIMIT = 99.megabytes
  KINDS = {
    "image/png" => ["\x89PNG".b, ".png", :image], "image/jpeg" => ["\xFF\xD8\xFF".b, ".jpg", :image],
    "image/gif" => ["GIF8".b, ".gif", :image], "video/webm" => ["\x1AE\xDF\xA3".b, ".webm", :video],
  }.freeze

  belongs_to :account, optional: true
  belongs_to :status, optional: true

  enum :type, { image: 0, gifv: 1, video: 2, unknown: 3, audio: 4 }

  scope :unattached, -> { where(status_id: nil) }
  scope :cached, -> { where.not(remote_url: "").where.not(file_file_name: nil) }

  after_destroy :delete_file

  # Keeps an uploaded file where media are; what it is, its first bytes say.
  def self.store!(account, upload, description: nil)
    head = upload.read(16).to_s.b
    type, (_, extension, kind) = KINDS.find { |_type, (magic, *)| head.start_with?(magic) }
    raise ArgumentError, "File content type is invalid" unless type
    raise ArgumentError, "File is too large" if upload.size > (kind == :image ? IMAGE_LIMIT : VIDEO_LIMIT)

    name = "#{SecureRandom.hex(8)}#{extension}"
    transaction do
      create!(account:, description:, type: kind, file_file_name: name, file_content_type: type,
              file_file_size: upload.size, file_updated_at: Time.current).tap { |media| media.send(:keep, upload) }
    end
  end

  def file_url = file_file_name && store.url(relative_path)

  def delete_file
    store.delete(relative_path) if file_file_name
  end

  private

  def store = Calf::MediaStore.current
  def relative_path = ["media_attachments/files", *format("%09d", id).scan(/\d{3}/), "original", file_file_name].join("/")

  def keep(upload)
    upload.rewind
    store.put(relative_path, upload, file_content_type)
  end
end
