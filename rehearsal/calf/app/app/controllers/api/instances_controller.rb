# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::InstancesController < Api::BaseController
  def show = render(json: Rest.instance(version: params[:version].to_i))
end
