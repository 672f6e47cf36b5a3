# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::MediaController < Api::BaseController
  requires_scope "write:media"

  def create
    return render_error(422, "Validation failed: File can't be blank") unless params[:file].respond_to?(:read)

    render json: Rest.media(MediaAttachment.store!(current_account, params[:file], description: params[:description]))
  end

  def show = render(json: Rest.media(mine))
  def update = render(json: Rest.media(mine.tap { |media| media.update!(description: params[:description]) }))

  private

  def mine = MediaAttachment.unattached.where(account: current_account).find(params[:id])
end
